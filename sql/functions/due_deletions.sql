-- Deletions whose time has come.
--
-- A schedule points to the attempt that deletes, and the outcome of that attempt decides what becomes of it; a further
-- attempt is opened only when the one before certainly had no effect. So a deletion happens once, whatever dies when.
--
-- Called by the Scheduler of every instance every second (take, end), and for the items of large bulk deletions
-- (open_deletion, deletion_outcome). Locks, in this order: the schedule, the attempt that it points to.

CREATE OR REPLACE FUNCTION service.deletion_outcome(
    p_app_id uuid, p_attempt_id uuid, OUT outcome service.outcome, OUT status_code int, OUT is_running boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(a.outcome, e.outcome::service.outcome), coalesce(a.status_code, e.status_code),
           a.attempt_id IS NOT NULL AND a.outcome IS NULL
    FROM (SELECT) AS always
    LEFT JOIN service.attempts AS a ON a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    -- The attempt is forgotten after a day, its entry never.
    LEFT JOIN audit.entries AS e ON a.attempt_id IS NULL AND e.app_id = p_app_id AND e.id = p_attempt_id
$$;
COMMENT ON FUNCTION service.deletion_outcome IS
    'How an attempt ended. NULL while it runs, or recovery is about to end it, and for one that was never stored.';

CREATE OR REPLACE FUNCTION service.end_scheduled_deletion(p_app_id uuid, p_customer_id uuid, p_attempt_id uuid)
RETURNS service.scheduled_deletions
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_outcome  service.outcome := (service.deletion_outcome(p_app_id, p_attempt_id)).outcome;
    v_schedule service.scheduled_deletions;
BEGIN
    -- After a failure the next try follows after 1, 2, 4 … 64 s.
    UPDATE service.scheduled_deletions AS s
    SET status = CASE v_outcome WHEN 'SUCCEEDED' THEN 'DELETED' WHEN 'REFUSED' THEN 'REFUSED'
                                WHEN 'NOT_FOUND' THEN 'NOT_FOUND' ELSE 'SCHEDULED' END::service.schedule_status,
        tries = s.tries + (v_outcome IN ('FAILED', 'INTERRUPTED'))::int,
        try_after = CASE WHEN v_outcome IN ('FAILED', 'INTERRUPTED')
                         THEN clock_timestamp() + least(2 ^ s.tries, 64) * interval '1 s'
                         ELSE s.try_after END
    WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id AND s.attempt_id = p_attempt_id
      AND s.status = 'SCHEDULED' AND v_outcome IS NOT NULL
    RETURNING * INTO v_schedule;
    IF NOT FOUND THEN
        SELECT * INTO v_schedule
        FROM service.scheduled_deletions AS s
        WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id;
    END IF;
    RETURN v_schedule;
END
$$;
COMMENT ON FUNCTION service.end_scheduled_deletion IS
    'Brings a schedule to the end that the attempt which it points to has come to, if it has: repeating it is harmless.';

CREATE OR REPLACE FUNCTION service.claimed_actor(p_app_id uuid, p_attempt_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        (SELECT e.actor_claimed FROM audit.entries AS e WHERE e.app_id = p_app_id AND e.id = p_attempt_id),
        (SELECT a.entry ->> 'actor_claimed'
         FROM service.attempts AS a
         WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id))
$$;
COMMENT ON FUNCTION service.claimed_actor IS
    'Who acted, as the client of an attempt said, whether it has its entry yet or not. NULL if the client didn''t say, or retention has erased it.';

CREATE OR REPLACE FUNCTION service.open_deletion(
    p_app_id uuid, p_customer_id uuid, p_key_id uuid, p_actor_claimed text, p_reason text, p_request jsonb, p_lease interval,
    p_ttl interval)
RETURNS service.due_deletion
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_key     service.api_keys;
    v_attempt service.attempts;
    v_opened  service.opened;
BEGIN
    SELECT * INTO v_key FROM service.api_keys AS k WHERE k.app_id = p_app_id AND k.id = p_key_id;
    v_attempt.app_id := p_app_id;
    v_attempt.attempt_id := gen_random_uuid();
    v_attempt.key_id := p_key_id;
    v_attempt.action := 'customer.delete';
    v_attempt.customer_id := p_customer_id;
    v_attempt.admitted_at := v_now;
    v_attempt.lease_expires_at := v_now + p_lease;
    v_attempt.ttl := p_ttl;
    v_attempt.entry := jsonb_build_object(
        'actor_key_id', p_key_id,
        'actor_client_key', v_key.client_key,
        'actor_name', v_key.name,
        'actor_role', v_key.role,
        'actor_claimed', p_actor_claimed,
        'reason', p_reason,
        'request', p_request);
    v_opened := service.open_attempt(v_attempt);
    IF v_key.revoked_at IS NOT NULL OR coalesce(v_key.expires_at <= v_now, false)
       OR service.permits(v_key, '{customers:delete}') IS NOT true THEN
        -- The entry follows, by recovery.
        UPDATE service.attempts AS a
        SET outcome = 'FORBIDDEN', status_code = service.status_code('FORBIDDEN'), finished_at = v_now,
            is_current = false, lease_expires_at = v_now,
            failure = jsonb_build_object('error_message', 'The key that asked for the deletion may no longer delete')
        WHERE a.app_id = p_app_id AND a.attempt_id = v_attempt.attempt_id;
        v_opened.fence := NULL;
    END IF;
    RETURN ROW(p_app_id, p_customer_id, v_attempt.attempt_id, v_opened.fence)::service.due_deletion;
END
$$;
COMMENT ON FUNCTION service.open_deletion IS
    'Opens the attempt of a deletion that runs later than it was asked for, as the key that asked and with the actor that its client named. No fence: the key may no longer delete, and the attempt has ended as FORBIDDEN.';

CREATE OR REPLACE FUNCTION service.due_apps() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.app_id
    FROM service.scheduled_deletions AS s
    WHERE s.status = 'SCHEDULED' AND s.delete_at <= clock_timestamp()
      AND (s.try_after <= clock_timestamp() OR s.try_after > clock_timestamp() + interval '2 minutes')
    GROUP BY s.app_id
    ORDER BY min(s.try_after)
$$;
COMMENT ON FUNCTION service.due_apps IS 'The apps that have scheduled deletions to be taken, the one that has waited longest first.';

CREATE OR REPLACE FUNCTION service.take_due_deletions(p_app_id uuid, p_lease interval, p_ttl interval, p_limit int)
RETURNS SETOF service.due_deletion
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now      timestamptz := clock_timestamp();
    v_schedule service.scheduled_deletions;
    v_came     record;
    v_due      service.due_deletion;
BEGIN
    FOR v_schedule IN
        SELECT *
        FROM service.scheduled_deletions AS s
        WHERE s.app_id = p_app_id AND s.status = 'SCHEDULED' AND s.delete_at <= v_now
          -- What waits longer than a lease or a pause lasts began to do so before the clock stepped back.
          AND (s.try_after <= v_now OR s.try_after > v_now + interval '2 minutes')
        ORDER BY s.try_after
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    LOOP
        IF v_schedule.attempt_id IS NOT NULL THEN
            SELECT * INTO v_came FROM service.deletion_outcome(v_schedule.app_id, v_schedule.attempt_id);
            IF v_came.outcome IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND') THEN
                PERFORM service.end_scheduled_deletion(
                    v_schedule.app_id, v_schedule.customer_id, v_schedule.attempt_id);
                CONTINUE;
            ELSIF v_came.is_running THEN
                UPDATE service.scheduled_deletions AS s
                SET try_after = v_now + interval '1 s'
                WHERE s.app_id = v_schedule.app_id AND s.customer_id = v_schedule.customer_id;
                CONTINUE;
            END IF;
        END IF;

        v_due := service.open_deletion(
            v_schedule.app_id, v_schedule.customer_id, v_schedule.key_id,
            service.claimed_actor(v_schedule.app_id, v_schedule.scheduled_by), v_schedule.reason,
            jsonb_build_object('scheduled_by', v_schedule.scheduled_by), p_lease, p_ttl);
        UPDATE service.scheduled_deletions AS s
        SET attempt_id = v_due.attempt_id, try_after = v_now + p_lease,
            status = CASE WHEN v_due.fence IS NULL THEN 'FORBIDDEN' ELSE s.status END
        WHERE s.app_id = v_schedule.app_id AND s.customer_id = v_schedule.customer_id;
        IF v_due.fence IS NOT NULL THEN
            RETURN NEXT v_due;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.take_due_deletions IS
    'Takes scheduled deletions of an app whose time has come, and opens an attempt for each under a lease, as admission does. Those whose key may no longer delete end as FORBIDDEN. Any number of instances.';

CREATE OR REPLACE FUNCTION service.schedule_lag(OUT deletions bigint, OUT seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), coalesce(greatest(extract(epoch FROM clock_timestamp() - min(s.delete_at)), 0), 0)
    FROM service.scheduled_deletions AS s
    WHERE s.status = 'SCHEDULED' AND s.delete_at <= clock_timestamp()
$$;
COMMENT ON FUNCTION service.schedule_lag IS
    'How many scheduled deletions are due and not done yet, and for how many seconds the oldest is.';
