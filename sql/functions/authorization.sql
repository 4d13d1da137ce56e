-- Authorization, the first part of step 1: key → rate → permission → validity; the first check that fails answers.
--
-- Called for every request, before anything else: by a read itself, for a write by service.admit.
-- Locks, in this order: the key's rate window, or the rows of service.floods. Commits asynchronously.

CREATE OR REPLACE FUNCTION service.actor(p_decision service.admission) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'actor_key_id', (p_decision).key_id,
    'actor_client_key', (p_decision).client_key,
    'actor_name', (p_decision).key_name,
    'actor_role', (p_decision).key_role);
COMMENT ON FUNCTION service.actor(service.admission) IS 'The members of an audit entry that name the API key.';

CREATE OR REPLACE FUNCTION service.authorize(
    p_client_key    text,
    p_secret_digest bytea,
    p_permissions   text[],
    p_cost          int,
    p_rate_limit    int,
    p_rate_window   interval,
    p_is_valid      boolean,
    p_ip            inet,
    -- Of a write alone: the audit entry as far as the request makes it, and the address that a flood is counted by.
    p_entry         jsonb DEFAULT NULL,
    p_address       text DEFAULT NULL) RETURNS service.admission
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_strangers   CONSTANT uuid  := '00000000-0000-0000-0000-000000000000';
    c_unknown     CONSTANT bytea := decode(repeat('00', 32), 'hex');
    c_single_429s CONSTANT int   := 100;
    v_now         timestamptz    := clock_timestamp();
    v_matches     boolean;
    v_key         service.api_keys;
    v_window      service.rate_windows;
    v_limit       int;
    v_cost        int;
    v_decision    service.admission;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    v_decision.decided_at := v_now;
    v_decision.is_recorded := p_entry IS NOT NULL;
    v_decision.is_elsewhere := false;
    v_decision.retry_after := 0;

    -- The same work whether the key exists or not. The digests are those of 256 random bits, so the time that comparing
    -- them takes reveals nothing of use.
    SELECT * INTO v_key FROM service.api_keys AS k WHERE k.client_key = p_client_key;
    v_matches := coalesce(v_key.secret_digest, c_unknown) = p_secret_digest;
    v_matches := (coalesce(v_key.previous_secret_digest, c_unknown) = p_secret_digest
                  AND coalesce(v_key.previous_secret_expires_at > v_now, false))
                 OR v_matches;
    v_decision.client_key := v_key.client_key;
    IF v_key.id IS NULL OR NOT v_matches OR v_key.revoked_at IS NOT NULL
       OR coalesce(v_key.expires_at <= v_now, false) THEN
        v_decision.verdict := 'UNAUTHENTICATED';
        v_decision.app_id := c_strangers;
        IF v_decision.is_recorded THEN
            v_decision.is_recorded := service.count_stranger(
                p_address, p_entry || jsonb_build_object('occurred_at', v_now), v_now);
            IF NOT v_decision.is_recorded THEN
                v_decision.retry_after := floor(
                    extract(epoch FROM date_trunc('minute', v_now) + interval '1 minute' - v_now));
            END IF;
        END IF;
        RETURN v_decision;
    END IF;
    v_decision.app_id := v_key.app_id;
    v_decision.key_id := v_key.id;
    v_decision.key_name := v_key.name;
    v_decision.key_role := v_key.role;

    v_limit := coalesce(v_key.rate_limit, p_rate_limit);
    -- What costs more than a window holds could never be granted: it is invalid, and spends one request as such.
    v_cost := CASE WHEN p_cost <= v_limit THEN p_cost ELSE 1 END;
    v_decision.rate_limit := v_limit;
    -- One atomic UPSERT: exact, for any number of instances. A window that opens in the future was opened before the
    -- clock stepped back, and is over. The clock is read under the row's lock: by v_now, a window that was opened while
    -- this request waited would open in the future, too.
    INSERT INTO service.rate_windows AS w (app_id, key_id, opened_at, spent, refused, was_granted, last_used_at)
    VALUES (v_key.app_id, v_key.id, v_now, v_cost, 0, true, v_now)
    ON CONFLICT ON CONSTRAINT rate_windows_pkey DO UPDATE
        SET (opened_at, spent, refused, was_granted, last_used_at) = (
            SELECT CASE WHEN is_over THEN now ELSE w.opened_at END,
                   CASE WHEN is_over THEN excluded.spent WHEN is_granted THEN w.spent + v_cost ELSE w.spent END,
                   CASE WHEN is_over THEN excluded.refused WHEN is_granted THEN w.refused ELSE w.refused + 1 END,
                   CASE WHEN is_over THEN excluded.was_granted ELSE is_granted END,
                   now
            FROM (SELECT w.opened_at + p_rate_window <= t.now OR w.opened_at > t.now AS is_over,
                         w.spent + v_cost <= v_limit AS is_granted, t.now
                  FROM (SELECT clock_timestamp() AS now OFFSET 0) AS t) AS state)
    RETURNING * INTO v_window;
    v_decision.rate_remaining := greatest(v_limit - v_window.spent, 0);
    v_decision.rate_reset := ceil(extract(epoch FROM v_window.opened_at + p_rate_window));
    IF NOT v_window.was_granted THEN
        v_decision.verdict := 'RATE_LIMITED';
        v_decision.retry_after :=
            greatest(1, ceil(extract(epoch FROM v_window.opened_at + p_rate_window - v_window.last_used_at)));
        IF v_decision.is_recorded AND v_window.refused > c_single_429s THEN
            v_decision.is_recorded := false;
            INSERT INTO service.floods AS f
                (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
            VALUES (v_key.app_id, 'RATE_LIMITED', v_key.id::text,
                    v_window.opened_at, v_window.opened_at + p_rate_window, v_window.refused, 1,
                    service.flood_entry(p_entry) || jsonb_build_object('occurred_at', v_now)
                        || service.actor(v_decision))
            ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
                SET counted = f.counted + 1, folded = f.folded + 1, entry = excluded.entry;
        END IF;
    ELSIF NOT service.permits(v_key, p_permissions) THEN
        v_decision.verdict := 'FORBIDDEN';
    ELSIF NOT coalesce(p_ip <<= ANY (v_key.allowed_addresses), v_key.allowed_addresses IS NULL) THEN
        v_decision.verdict := 'FORBIDDEN';
        v_decision.is_elsewhere := true;
    ELSIF NOT p_is_valid OR p_cost > v_limit THEN
        v_decision.verdict := 'INVALID';
    ELSE
        v_decision.verdict := 'ADMITTED';
    END IF;
    RETURN v_decision;
END
$$;
COMMENT ON FUNCTION service.authorize IS
    'Decides about a request: key, rate, permission, validity, the first that fails. All that a read needs.';
