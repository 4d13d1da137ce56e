-- Scheduled deletions: what is to be deleted at a time.
--
-- A schedule points to the attempt that deletes, and the outcome of that attempt decides what becomes of it; a further
-- attempt is opened only when the one before certainly had no effect. So a deletion happens once, whatever dies when.
--
-- Called by the operations of ScheduleDeletion, and by the Scheduler of every instance every second (take, end).
-- Locks, in this order: the own attempt, the schedule, the attempt that it points to, the customer.

CREATE OR REPLACE FUNCTION service.scheduled_deletion(s service.scheduled_deletions) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT '{"customer":'
        || coalesce((SELECT service.record(c.*)
                     FROM public.customers AS c
                     WHERE c.app_id = (s).app_id AND c.id = (s).customer_id), 'null')
        || ',"delete_at":' || to_json(service.rfc3339((s).delete_at)) || ',"status":' || to_json((s).status) || '}'
$$;
COMMENT ON FUNCTION service.scheduled_deletion(service.scheduled_deletions) IS
    'A scheduled deletion as the API renders it, with the customer as it is now.';

CREATE OR REPLACE FUNCTION service.find_schedules(
    p_app_id uuid, p_customer_id uuid, p_status text, p_before timestamptz, p_after timestamptz, p_after_customer uuid,
    p_limit int, OUT customer_id uuid, OUT delete_at timestamptz, OUT schedule text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.customer_id, s.delete_at, service.scheduled_deletion(s)
    FROM service.scheduled_deletions AS s
    WHERE s.app_id = p_app_id
      AND (p_customer_id IS NULL OR s.customer_id = p_customer_id)
      AND (p_status IS NULL OR s.status = p_status::service.schedule_status)
      AND (p_before IS NULL OR s.delete_at < p_before)
      AND (p_after IS NULL OR (s.delete_at, s.customer_id) > (p_after, p_after_customer))
    ORDER BY s.delete_at, s.customer_id
    LIMIT p_limit
$$;
COMMENT ON FUNCTION service.find_schedules IS 'Scheduled deletions of an app, those to come first and ended ones, by their time.';

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

CREATE OR REPLACE FUNCTION service.lock_schedule(p_app_id uuid, p_customer_id uuid)
RETURNS service.scheduled_deletions
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_schedule service.scheduled_deletions;
BEGIN
    SELECT * INTO v_schedule
    FROM service.scheduled_deletions AS s
    WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id
    FOR UPDATE;
    IF v_schedule.attempt_id IS NOT NULL AND v_schedule.status = 'SCHEDULED' THEN
        -- A deletion that runs now either has committed, or never will: its fence is raised.
        UPDATE service.attempts AS a
        SET fence = a.fence + 1, outcome = 'INTERRUPTED', finished_at = clock_timestamp(), is_current = false,
            lease_expires_at = least(a.lease_expires_at, clock_timestamp())
        WHERE a.app_id = p_app_id AND a.attempt_id = v_schedule.attempt_id AND a.outcome IS NULL;
        v_schedule := service.end_scheduled_deletion(p_app_id, p_customer_id, v_schedule.attempt_id);
    END IF;
    RETURN v_schedule;
END
$$;
COMMENT ON FUNCTION service.lock_schedule IS
    'The schedule of a customer under its lock, with a deletion of it that was running stopped or brought to its end. NULL if there is none.';

CREATE OR REPLACE FUNCTION service.schedule_deletion(
    p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_delete_at timestamptz, p_reason text, p_entity_tags text[],
    p_not_found text, p_mismatch text, p_past text, p_too_late text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now      timestamptz;
    v_known    service.scheduled_deletions;
    v_schedule service.scheduled_deletions;
    v_customer public.customers;
    v_attempt  service.attempts;
BEGIN
    v_known := service.lock_schedule(p_app_id, p_customer_id);
    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    IF NOT FOUND THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', p_not_found);
    ELSIF service.etag(service.record(v_customer)) <> ALL (p_entity_tags) THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'MISMATCH', p_mismatch, service.image(v_customer));
    ELSIF p_delete_at <= v_now THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'INVALID', p_past, service.image(v_customer));
    ELSIF p_delete_at > v_now + interval '1 year' THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'INVALID', p_too_late, service.image(v_customer));
    END IF;
    UPDATE service.attempts AS a
    SET entry = CASE WHEN p_reason IS NULL THEN a.entry ELSE a.entry || jsonb_build_object('reason', p_reason) END
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    RETURNING * INTO v_attempt;
    INSERT INTO service.scheduled_deletions AS s
        (app_id, customer_id, delete_at, reason, key_id, scheduled_by, try_after)
    VALUES (p_app_id, p_customer_id, p_delete_at, v_attempt.entry ->> 'reason', v_attempt.key_id, p_attempt_id, p_delete_at)
    ON CONFLICT ON CONSTRAINT scheduled_deletions_pkey DO UPDATE
        SET delete_at = excluded.delete_at, status = 'SCHEDULED', reason = excluded.reason, key_id = excluded.key_id,
            scheduled_by = excluded.scheduled_by, attempt_id = NULL, try_after = excluded.try_after, tries = 0
        -- One that came in meanwhile wasn't locked before the customer: the unit of work begins again.
        WHERE v_known.app_id IS NOT NULL
    RETURNING * INTO v_schedule;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the deletion was scheduled meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN service.finish(
        p_app_id, p_attempt_id, 'ACCEPTED', service.scheduled_deletion(v_schedule), service.image(v_customer),
        jsonb_build_object('schedule', jsonb_build_object('delete_at', service.rfc3339(p_delete_at))));
END
$$;
COMMENT ON FUNCTION service.schedule_deletion IS
    'Schedules the deletion of a customer, or moves the one that is scheduled. It will run as the key of this attempt.';

CREATE OR REPLACE FUNCTION service.cancel_deletion(
    p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_entity_tags text[],
    p_not_found text, p_mismatch text, p_no_schedule text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_schedule service.scheduled_deletions;
    v_customer public.customers;
BEGIN
    v_schedule := service.lock_schedule(p_app_id, p_customer_id);
    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    FOR NO KEY UPDATE;
    IF v_schedule.status IS DISTINCT FROM 'SCHEDULED' THEN
        RETURN service.finish(
            p_app_id, p_attempt_id, 'NOT_FOUND',
            CASE WHEN v_customer.id IS NULL AND v_schedule.app_id IS NULL THEN p_not_found ELSE p_no_schedule END,
            CASE WHEN v_customer.id IS NOT NULL THEN service.image(v_customer) END);
    ELSIF v_customer.id IS NOT NULL AND service.etag(service.record(v_customer)) <> ALL (p_entity_tags) THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'MISMATCH', p_mismatch, service.image(v_customer));
    END IF;
    UPDATE service.scheduled_deletions AS s
    SET status = 'CANCELLED'
    WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id
    RETURNING * INTO v_schedule;
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', service.scheduled_deletion(v_schedule),
        CASE WHEN v_customer.id IS NOT NULL THEN service.image(v_customer) END);
END
$$;
COMMENT ON FUNCTION service.cancel_deletion IS 'Calls a scheduled deletion off, unless it has ended.';

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

CREATE OR REPLACE FUNCTION service.open_deletion(
    p_app_id uuid, p_customer_id uuid, p_key_id uuid, p_reason text, p_request jsonb, p_lease interval, p_ttl interval)
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
        'reason', p_reason,
        'request', p_request);
    v_opened := service.open_attempt(v_attempt);
    IF v_key.revoked_at IS NOT NULL OR coalesce(v_key.expires_at <= v_now, false)
       OR service.permits(v_key, '{customers:delete}') IS NOT true THEN
        -- The entry follows, by recovery.
        UPDATE service.attempts AS a
        SET outcome = 'FORBIDDEN', status_code = service.status_code('FORBIDDEN'), finished_at = v_now, is_current = false,
            lease_expires_at = v_now,
            failure = jsonb_build_object('error_message', 'The key that asked for the deletion may no longer delete')
        WHERE a.app_id = p_app_id AND a.attempt_id = v_attempt.attempt_id;
        v_opened.fence := NULL;
    END IF;
    RETURN ROW(p_app_id, p_customer_id, v_attempt.attempt_id, v_opened.fence)::service.due_deletion;
END
$$;
COMMENT ON FUNCTION service.open_deletion IS
    'Opens the attempt of a deletion that runs later than it was asked for, as the key that asked. No fence: the key may no longer delete, and the attempt has ended as FORBIDDEN.';

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
            v_schedule.app_id, v_schedule.customer_id, v_schedule.key_id, v_schedule.reason,
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
