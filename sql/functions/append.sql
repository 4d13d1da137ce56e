-- The audit entry, step 3 of the protocol: the only writer of audit.entries, live and in recovery.
--
-- Called by the AuditWriter with the entries of one app that wait at a moment, by service.recover, and by commands that
-- record what they did. Locks, in this order: the attempts by id, the head of the chain last. Commits synchronously.
-- An array element with is_attempt is completed from its attempt row; others are whole entries.

CREATE OR REPLACE FUNCTION service.append(p_app_id uuid, p_entries jsonb, p_wait_ms int DEFAULT NULL)
RETURNS SETOF service.appended
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_may_wait  boolean := p_wait_ms IS DISTINCT FROM 0;
    v_locked    uuid[];
    v_head      audit.heads;
    v_item      jsonb;
    v_attempt   service.attempts;
    v_entry     audit.entries;
    v_redaction service.redactions;
    v_appended  service.appended;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true),
            set_config('lock_timeout', coalesce(nullif(p_wait_ms, 0)::text, current_setting('lock_timeout')), true);
    v_locked := service.lock_attempts(p_app_id, p_entries, v_may_wait);
    v_head := service.lock_head(p_app_id, v_may_wait);
    IF v_head.app_id IS NULL THEN
        RETURN;
    END IF;

    FOR v_item IN
        SELECT e.item FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS e (item, position) ORDER BY position
    LOOP
        v_attempt := NULL;
        v_entry := NULL;
        v_appended := ROW((v_item ->> 'id')::uuid, NULL, NULL);
        IF (v_item ->> 'is_attempt')::boolean THEN
            SELECT * INTO v_attempt
            FROM service.attempts AS a
            WHERE a.app_id = p_app_id AND a.attempt_id = v_appended.id;
            IF FOUND AND NOT v_appended.id = ANY (v_locked) THEN
                -- Another transaction holds it: to be appended later.
                CONTINUE;
            ELSIF NOT FOUND
               OR v_attempt.outcome IS NULL
                  AND (v_attempt.fence <> (v_item ->> 'fence')::int OR v_item ->> 'outcome' IS NULL) THEN
                -- Purged, or taken over before it had an outcome: not for this caller to record.
                RETURN NEXT v_appended;
                CONTINUE;
            ELSIF v_attempt.entry_seq IS NOT NULL THEN
                -- Appending is repeatable: what is there is only reported.
                v_appended.seq := v_attempt.entry_seq;
                v_appended.outcome := v_attempt.outcome;
                RETURN NEXT v_appended;
                CONTINUE;
            END IF;
            IF v_attempt.outcome IS NULL THEN
                v_attempt.outcome := v_item ->> 'outcome';
                v_attempt.status_code := v_item ->> 'status_code';
                v_attempt.body := v_item ->> 'body';
                v_attempt.before_image := v_item ->> 'before_image';
                v_attempt.failure := v_item -> 'failure';
                v_attempt.finished_at := clock_timestamp();
                v_attempt.is_current := v_attempt.outcome IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND');
            END IF;
            v_entry := jsonb_populate_record(v_entry, v_attempt.entry || coalesce(v_attempt.failure, '{}'));
            v_entry.id := v_attempt.attempt_id;
            v_entry.occurred_at := v_attempt.admitted_at;
            v_entry.action := v_attempt.action;
            v_entry.outcome := v_attempt.outcome;
            v_entry.status_code := v_attempt.status_code;
            v_entry.customer_id := v_attempt.customer_id;
            v_entry.before_image := v_attempt.before_image;
            -- An item of a bulk request is recorded under the key that its client sent.
            v_entry.idempotency_key := coalesce(v_entry.idempotency_key, v_attempt.idempotency_key);
        ELSE
            SELECT e.seq, e.outcome INTO v_appended.seq, v_appended.outcome
            FROM audit.entries AS e
            WHERE e.id = v_appended.id;
            IF FOUND THEN
                RETURN NEXT v_appended;
                CONTINUE;
            END IF;
            v_entry := jsonb_populate_record(v_entry, v_item);
        END IF;

        v_entry.app_id := p_app_id;
        v_entry.recorded_at := clock_timestamp();
        v_entry.occurred_at := coalesce(v_entry.occurred_at, v_entry.recorded_at);
        IF v_entry.customer_id IS NULL OR p_app_id = '00000000-0000-0000-0000-000000000000' THEN
            -- No redaction could ever reach free text here: it isn't kept.
            v_entry.reason := NULL;
            v_entry.error_message := CASE WHEN v_entry.sqlstate IS NULL THEN v_entry.error_message END;
            v_attempt.entry := v_attempt.entry - 'reason';
            v_attempt.failure := CASE WHEN v_entry.error_message IS NULL THEN v_attempt.failure - 'error_message'
                                      ELSE v_attempt.failure END;
        ELSE
            SELECT * INTO v_redaction
            FROM service.redactions AS r
            WHERE r.app_id = p_app_id AND r.customer_id = v_entry.customer_id;
            -- What began before a redaction must not bring back what it erased.
            IF FOUND AND v_redaction.attempt_id <> v_entry.id
               AND (CASE WHEN v_attempt.attempt_id IS NULL THEN v_entry.occurred_at <= v_redaction.redacted_at
                         ELSE v_attempt.is_redacted OR v_attempt.redactions_seen < v_redaction.times END) THEN
                v_entry.before_image := NULL;
                v_entry.reason := NULL;
                v_entry.error_message := NULL;
                v_attempt.before_image := NULL;
                v_attempt.failure := v_attempt.failure - 'error_message';
                v_attempt.entry := v_attempt.entry - 'reason';
                v_attempt.body := CASE WHEN v_attempt.outcome = 'SUCCEEDED' THEN service.redacted(v_attempt.body)
                                       ELSE v_attempt.body END;
                v_attempt.is_redacted := true;
            END IF;
        END IF;
        v_entry.seq := v_head.seq + 1;
        v_entry.subject_salt := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
        v_entry.context_salt := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
        v_entry.subject_commitment := audit.hmac_sha256(v_entry.subject_salt, audit.subject(v_entry));
        v_entry.context_commitment := audit.hmac_sha256(v_entry.context_salt, audit.context(v_entry));
        v_entry.previous_hash := v_head.hash;
        v_entry.hash := audit.hash(v_entry);
        INSERT INTO audit.entries SELECT (v_entry).*;
        v_head.seq := v_entry.seq;
        v_head.hash := v_entry.hash;
        IF v_head.seq % 256 = 0 THEN
            PERFORM service.fold_tiles(p_app_id, v_head.seq);
        END IF;

        IF v_entry.action = 'customer.redact' AND v_entry.outcome = 'SUCCEEDED' THEN
            PERFORM service.declare_redaction(p_app_id, v_entry.customer_id, v_entry.id, v_entry.seq);
        END IF;
        IF v_attempt.attempt_id IS NOT NULL THEN
            UPDATE service.attempts AS a
            SET entry = v_attempt.entry, outcome = v_attempt.outcome, status_code = v_attempt.status_code,
                body = v_attempt.body, before_image = v_attempt.before_image, failure = v_attempt.failure,
                finished_at = v_attempt.finished_at, is_current = v_attempt.is_current,
                is_redacted = v_attempt.is_redacted,
                fingerprint = CASE WHEN v_attempt.is_current AND NOT v_attempt.is_redacted THEN a.fingerprint END,
                entry_seq = v_entry.seq,
                expires_at = v_attempt.finished_at
                    + CASE WHEN v_attempt.outcome = 'INTERRUPTED' THEN interval '0' ELSE a.ttl END
            WHERE a.app_id = p_app_id AND a.attempt_id = v_attempt.attempt_id;
        END IF;
        v_appended.seq := v_entry.seq;
        v_appended.outcome := v_entry.outcome;
        RETURN NEXT v_appended;
    END LOOP;

    UPDATE audit.heads AS h SET seq = v_head.seq, hash = v_head.hash WHERE h.app_id = p_app_id;
END
$$;
COMMENT ON FUNCTION service.append IS
    'Appends entries to the chain of an app, all of them or none. Repeating it is harmless. It waits for a lock as long as the session allows, or p_wait_ms; with 0 it never waits, and an entry without a row in the result is to be appended later.';

CREATE OR REPLACE FUNCTION service.append_each(p_app_id uuid, p_entries jsonb, p_wait_ms int DEFAULT NULL)
RETURNS SETOF service.appended
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_kept CONSTANT text[] := '{
        id,is_attempt,fence,occurred_at,action,outcome,status_code,body,actor_key_id,idempotency_key}';
    v_item jsonb;
BEGIN
    PERFORM set_config('lock_timeout', coalesce(p_wait_ms::text, current_setting('lock_timeout')), true);
    -- One by one, but in the lock order all the same: all attempts before the chain.
    PERFORM service.lock_attempts(p_app_id, p_entries, true);
    FOR v_item IN
        SELECT e.item FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS e (item, position) ORDER BY position
    LOOP
        BEGIN
            RETURN QUERY SELECT * FROM service.append(p_app_id, jsonb_build_array(v_item), p_wait_ms);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            UPDATE service.attempts AS a
            SET entry = (SELECT coalesce(jsonb_object_agg(m.key, m.value), '{}')
                         FROM jsonb_each(a.entry) AS m WHERE m.key = ANY (c_kept))
            WHERE (v_item ->> 'is_attempt')::boolean
              AND a.app_id = p_app_id AND a.attempt_id = (v_item ->> 'id')::uuid;
            RETURN QUERY
            SELECT *
            FROM service.append(p_app_id, jsonb_build_array(
                (SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each(v_item) AS m WHERE m.key = ANY (c_kept))
                || jsonb_build_object('error_message', 'the entry could not be stored in full, SQLSTATE ' || SQLSTATE)),
                p_wait_ms);
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.append_each IS
    'Appends a group that failed as a whole because one of its entries can''t be stored: one by one, that entry in a minimal form.';
