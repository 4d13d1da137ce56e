-- Scheduled deletions: what is to be deleted at a time. How it comes to that: due_deletions.sql.
--
-- Called by the operations of ScheduleDeletion.
-- Locks, in this order: the own attempt, the schedule, the attempt that it points to, the customer.

CREATE OR REPLACE FUNCTION service.scheduled_deletion(s service.scheduled_deletions) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT '{"customer":'
        || coalesce((SELECT service.record(c.*)
                     FROM public.customers AS c
                     WHERE c.app_id = (scheduled_deletion.s).app_id AND c.id = (scheduled_deletion.s).customer_id), 'null')
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

CREATE OR REPLACE FUNCTION service.store_schedule(
    p_known service.scheduled_deletions, p_app_id uuid, p_customer_id uuid, p_delete_at timestamptz, p_reason text,
    p_key_id uuid, p_scheduled_by uuid) RETURNS service.scheduled_deletions
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_schedule service.scheduled_deletions;
BEGIN
    IF p_known.app_id IS NULL THEN
        INSERT INTO service.scheduled_deletions AS s
            (app_id, customer_id, delete_at, reason, key_id, scheduled_by, try_after)
        VALUES (p_app_id, p_customer_id, p_delete_at, p_reason, p_key_id, p_scheduled_by, p_delete_at)
        ON CONFLICT ON CONSTRAINT scheduled_deletions_pkey DO NOTHING
        RETURNING * INTO v_schedule;
    ELSE
        UPDATE service.scheduled_deletions AS s
        SET delete_at = p_delete_at, status = 'SCHEDULED', reason = p_reason, key_id = p_key_id,
            scheduled_by = p_scheduled_by, attempt_id = NULL, try_after = p_delete_at, tries = 0
        WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id
        RETURNING * INTO v_schedule;
    END IF;
    -- One that came in meanwhile wasn't locked before the customer, and must not be now: the unit of work begins again.
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the deletion was scheduled meanwhile' USING ERRCODE = 'serialization_failure';
    END IF;
    RETURN v_schedule;
END
$$;
COMMENT ON FUNCTION service.store_schedule IS
    'Stores when a customer is to be deleted, in place of what lock_schedule has found (p_known).';

CREATE OR REPLACE FUNCTION service.call_off(p_schedule service.scheduled_deletions) RETURNS service.scheduled_deletions
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.scheduled_deletions AS s
    SET status = 'CANCELLED'
    WHERE s.app_id = (p_schedule).app_id AND s.customer_id = (p_schedule).customer_id
    RETURNING s.*
$$;
COMMENT ON FUNCTION service.call_off IS 'Calls off a scheduled deletion that lock_schedule has found.';

CREATE OR REPLACE FUNCTION service.schedule_deletion(
    p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_delete_at timestamptz, p_reason text, p_entity_tags text[],
    p_not_found text, p_mismatch text, p_past text, p_too_late text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
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
    v_schedule := service.store_schedule(
        v_known, p_app_id, p_customer_id, p_delete_at, v_attempt.entry ->> 'reason', v_attempt.key_id, p_attempt_id);
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
#variable_conflict use_variable
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
    v_schedule := service.call_off(v_schedule);
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', service.scheduled_deletion(v_schedule),
        CASE WHEN v_customer.id IS NOT NULL THEN service.image(v_customer) END);
END
$$;
COMMENT ON FUNCTION service.cancel_deletion IS 'Calls a scheduled deletion off, unless it has ended.';
