-- Admission, step 1 of the protocol: may this write go on, and is it new? Authorization, then idempotency.
--
-- Called for every write, before anything else (admit), and for every item of a bulk request (open_attempt). One round
-- trip.
-- Locks, in this order: those of authorization; then the attempt, which it never waits for. Commits asynchronously: WAL
-- is one sequence, so when the unit of work is durable, this is too.

CREATE OR REPLACE FUNCTION service.open_attempt(
    p_attempt service.attempts) RETURNS service.opened
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now    timestamptz := clock_timestamp();
    v_salt   bytea       := uuid_send(gen_random_uuid());
    v_known  service.attempts;
    v_opened service.opened;
BEGIN
    -- Never waits for an attempt's row: a plain read first, an insert only where none was seen, and a take-over only of
    -- a row that no transaction has locked.
    FOR v_round IN 1 .. 5 LOOP
        SELECT * INTO v_known
        FROM service.attempts AS a
        WHERE a.app_id = p_attempt.app_id AND a.idempotency_key = p_attempt.idempotency_key AND a.is_current;
        IF NOT FOUND THEN
            INSERT INTO service.attempts
                (app_id, attempt_id, key_id, action, customer_id, admitted_at, idempotency_key, fingerprint,
                 fingerprint_salt, redactions_seen, lease_expires_at, ttl, entry)
            VALUES (p_attempt.app_id, p_attempt.attempt_id, p_attempt.key_id, p_attempt.action, p_attempt.customer_id,
                    p_attempt.admitted_at, p_attempt.idempotency_key, sha256(v_salt || p_attempt.fingerprint),
                    v_salt,
                    coalesce((SELECT r.times
                              FROM service.redactions AS r
                              WHERE r.app_id = p_attempt.app_id AND r.customer_id = p_attempt.customer_id), 0),
                    p_attempt.lease_expires_at, p_attempt.ttl, p_attempt.entry)
            ON CONFLICT DO NOTHING
            RETURNING 'RUN', attempts.fence, attempts.attempt_id
            INTO v_opened.opening, v_opened.fence, v_opened.attempt_id;
            IF FOUND THEN
                RETURN v_opened;
            END IF;
            -- Either our own admission came through before, or another request has just taken the key.
            SELECT * INTO v_known
            FROM service.attempts AS a
            WHERE a.app_id = p_attempt.app_id AND a.attempt_id = p_attempt.attempt_id;
            CONTINUE WHEN NOT FOUND;
        END IF;

        v_opened.attempt_id := v_known.attempt_id;
        v_opened.fence := v_known.fence;
        IF v_known.expires_at <= v_now THEN
            -- Its time is over: the key is free again.
            PERFORM
            FROM service.attempts AS a
            WHERE a.app_id = v_known.app_id AND a.attempt_id = v_known.attempt_id
            FOR UPDATE SKIP LOCKED;
            IF FOUND THEN
                DELETE FROM service.attempts AS a
                WHERE a.app_id = v_known.app_id AND a.attempt_id = v_known.attempt_id;
            END IF;
        ELSIF v_known.fingerprint <> sha256(v_known.fingerprint_salt || p_attempt.fingerprint) THEN
            v_opened.opening := 'MISMATCH';
            RETURN v_opened;
        ELSIF v_known.outcome IS NOT NULL THEN
            v_opened.opening := 'REPLAY';
            v_opened.has_entry := v_known.entry_seq IS NOT NULL;
            IF v_known.outcome = 'SUCCEEDED' AND NOT v_known.is_redacted THEN
                IF EXISTS (
                    SELECT
                    FROM service.redactions AS r
                    WHERE r.app_id = v_known.app_id AND r.customer_id = v_known.customer_id
                      AND r.times > v_known.redactions_seen AND r.attempt_id <> v_known.attempt_id) THEN
                    v_known.body := service.redacted(v_known.body);
                END IF;
            END IF;
            v_opened.receipt := service.receipt(v_known);
            RETURN v_opened;
        ELSIF v_known.attempt_id = p_attempt.attempt_id THEN
            -- Our own admission, whose answer was lost on the way.
            v_opened.opening := 'RUN';
            RETURN v_opened;
        ELSIF v_known.lease_expires_at > v_now AND v_known.admitted_at <= clock_timestamp() THEN
            v_opened.opening := 'RUNNING';
            v_opened.running_for_s := greatest(1, ceil(extract(epoch FROM v_known.lease_expires_at - v_now)));
            RETURN v_opened;
        ELSE
            SELECT * INTO v_known
            FROM service.attempts AS a
            WHERE a.app_id = v_known.app_id AND a.attempt_id = v_known.attempt_id
            FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                EXIT;
            END IF;
            -- The instance that ran it is gone or has overslept, or the clock has stepped back since: raise the fence,
            -- free the key. Recovery writes its entry.
            UPDATE service.attempts AS a
            SET fence = a.fence + 1, outcome = 'INTERRUPTED', finished_at = v_now, is_current = false
            WHERE a.app_id = v_known.app_id AND a.attempt_id = v_known.attempt_id
              AND a.outcome IS NULL AND (a.lease_expires_at <= v_now OR a.admitted_at > clock_timestamp());
        END IF;
    END LOOP;
    v_opened.opening := 'RUNNING';
    v_opened.running_for_s := 1;
    RETURN v_opened;
END
$$;
COMMENT ON FUNCTION service.open_attempt IS
    'The entrance of idempotency: the attempt is new and may run, or this is how far the first request with its idempotency key has come.';

CREATE OR REPLACE FUNCTION service.admit(
    p_client_key      text,
    p_secret_digest   bytea,
    p_permissions     text[],
    p_cost            int,
    p_rate_limit      int,
    p_rate_window     interval,
    p_is_valid        boolean,
    p_attempt_id      uuid,
    p_action          text,
    p_customer_id     uuid,
    p_idempotency_key uuid,
    p_fingerprint     bytea,
    p_lease           interval,
    p_ttl             interval,
    p_entry           jsonb,
    p_address         text) RETURNS service.admitted
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_admitted service.admitted;
    v_decision service.admission;
    v_attempt  service.attempts;
BEGIN
    v_decision := service.authorize(
        p_client_key, p_secret_digest, p_permissions, p_cost, p_rate_limit, p_rate_window, p_is_valid,
        (p_entry ->> 'ip')::inet,
        p_entry || jsonb_build_object(
            'id', p_attempt_id, 'action', p_action, 'customer_id', p_customer_id,
            'idempotency_key', p_idempotency_key),
        p_address);
    v_admitted.admission := v_decision;
    IF v_decision.verdict = 'ADMITTED' THEN
        v_attempt.app_id := v_decision.app_id;
        v_attempt.attempt_id := p_attempt_id;
        v_attempt.key_id := v_decision.key_id;
        v_attempt.action := p_action;
        v_attempt.customer_id := p_customer_id;
        v_attempt.admitted_at := v_decision.decided_at;
        v_attempt.idempotency_key := p_idempotency_key;
        v_attempt.fingerprint := p_fingerprint;
        v_attempt.lease_expires_at := v_decision.decided_at + p_lease;
        v_attempt.ttl := p_ttl;
        v_attempt.entry := p_entry || service.actor(v_decision);
        v_admitted.opened := service.open_attempt(v_attempt);
    END IF;
    RETURN v_admitted;
END
$$;
COMMENT ON FUNCTION service.admit IS
    'Decides about a write, in one round trip. A write that may go on has its attempt row afterwards.';
