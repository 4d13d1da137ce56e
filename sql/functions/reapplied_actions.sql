-- What is done again after a restore, action by action: each function says what came of it, and notes an entry.
--
-- Called by service.reapply. In a dry run each says what it would do. Locks, in this order: those of a redaction; or a
-- bulk deletion; or the schedule, the customer, then the hold; the head of the chain last.

CREATE OR REPLACE FUNCTION service.record_reapplication(
    p_app_id uuid, p_original jsonb, p_outcome text, p_image text, p_request jsonb, p_failure jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM service.append(p_app_id, jsonb_build_array(p_failure || jsonb_build_object(
        'id', gen_random_uuid(),
        'occurred_at', clock_timestamp(),
        'action', p_original ->> 'action',
        'outcome', p_outcome,
        'customer_id', p_original ->> 'customer_id',
        'before_image', p_image::jsonb,
        'actor_name', session_user,
        'reason', p_original ->> 'reason',
        'request', p_request || jsonb_build_object('reapplied_from', p_original ->> 'id'))));
END
$$;
COMMENT ON FUNCTION service.record_reapplication IS 'Appends the entry of what was done again, or couldn''t be.';

CREATE OR REPLACE FUNCTION service.reapply_key(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    -- Microseconds, as an export has it.
    v_occurred_at CONSTANT timestamptz :=
        timestamptz 'epoch' + (p_original ->> 'occurred_at')::bigint * interval '1 microsecond';
    v_request              jsonb;
BEGIN
    result := 'unchanged';
    SELECT jsonb_build_object('key', k.client_key, 'name', k.name, 'role', k.role) INTO v_request
    FROM service.api_keys AS k
    WHERE k.app_id = p_app_id AND k.client_key = p_original -> 'request' ->> 'key' AND k.revoked_at IS NULL
      AND NOT (p_original ->> 'action' = 'key.rotate' AND EXISTS (
          SELECT
          FROM audit.entries AS e
          WHERE e.app_id = p_app_id AND e.action = 'key.rotate' AND e.request ->> 'key' = k.client_key
            AND e.occurred_at > v_occurred_at))
    FOR UPDATE;
    IF FOUND THEN
        result := 'revoked';
    END IF;
    IF NOT FOUND OR p_dry_run THEN
        RETURN;
    END IF;
    UPDATE service.api_keys AS k SET revoked_at = clock_timestamp() WHERE k.client_key = v_request ->> 'key';
    PERFORM service.record_reapplication(
        p_app_id, p_original || '{"action": "key.revoke"}', 'SUCCEEDED', NULL, v_request);
END
$$;
COMMENT ON FUNCTION service.reapply_key IS
    'Revokes a key again; also one whose secret was rotated away, which would be good again, while the new one is lost.';

CREATE OR REPLACE FUNCTION service.reapply_deletion(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer_id CONSTANT uuid := (p_original ->> 'customer_id')::uuid;
    v_image                text;
    v_tried                record;
    v_failure              jsonb := '{}';
    v_constraint           text;
    v_table                text;
BEGIN
    result := 'unchanged';
    SELECT service.image(c) INTO v_image
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = v_customer_id
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    ELSIF p_dry_run THEN
        SELECT * INTO v_tried FROM service.try_deletion(p_app_id, v_customer_id);
        result := CASE WHEN v_tried.deletable THEN 'deleted' ELSE 'failed' END;
        message := CASE WHEN v_tried.deletable IS NOT true
                        THEN coalesce('refused by ' || v_tried.constraint_name, 'can''t be tried now') END;
        RETURN;
    END IF;
    BEGIN
        DELETE FROM public.legal_holds AS h
        WHERE h.app_id = p_app_id AND h.customer_id = v_customer_id AND h.until <= clock_timestamp();
        PERFORM service.refuse_foreign_code();
        DELETE FROM public.customers AS c WHERE c.app_id = p_app_id AND c.id = v_customer_id;
        SET CONSTRAINTS ALL IMMEDIATE;
        result := 'deleted';
    EXCEPTION WHEN integrity_constraint_violation THEN
        GET STACKED DIAGNOSTICS v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
        result := 'failed';
        message := format('refused by %s', v_constraint);
        v_failure := jsonb_build_object(
            'error_code', 'P2003', 'sqlstate', SQLSTATE, 'constraint_name', v_constraint, 'referencing_table', v_table);
        -- What is refused again has its entry already.
        IF EXISTS (
            SELECT
            FROM audit.entries AS e
            WHERE e.app_id = p_app_id AND e.request ? 'reapplied_from'
              AND e.request ->> 'reapplied_from' = p_original ->> 'id') THEN
            RETURN;
        END IF;
    END;
    PERFORM service.record_reapplication(
        p_app_id, p_original, CASE result WHEN 'deleted' THEN 'SUCCEEDED' ELSE 'REFUSED' END, v_image, '{}', v_failure);
END
$$;
COMMENT ON FUNCTION service.reapply_deletion IS
    'Deletes a customer again, unless records refer to it now.';

CREATE OR REPLACE FUNCTION service.reapply_redaction(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer_id CONSTANT uuid := (p_original ->> 'customer_id')::uuid;
    v_attempt              service.attempts;
    v_receipt              service.receipt;
BEGIN
    result := 'unchanged';
    IF NOT EXISTS (SELECT FROM public.customers AS c WHERE c.app_id = p_app_id AND c.id = v_customer_id)
       AND service.known_record(p_app_id, v_customer_id) IS NULL THEN
        RETURN;
    ELSIF p_dry_run AND service.is_held(p_app_id, v_customer_id) THEN
        result := 'failed';
        message := 'the customer is under a hold';
        RETURN;
    END IF;
    result := 'redacted';
    IF p_dry_run THEN
        RETURN;
    END IF;
    v_attempt.app_id := p_app_id;
    v_attempt.attempt_id := gen_random_uuid();
    v_attempt.key_id := '00000000-0000-0000-0000-000000000000';
    v_attempt.action := 'customer.redact';
    v_attempt.customer_id := v_customer_id;
    v_attempt.admitted_at := clock_timestamp();
    v_attempt.lease_expires_at := v_attempt.admitted_at + interval '1 minute';
    v_attempt.ttl := '0';
    v_attempt.entry := jsonb_build_object(
        'actor_name', session_user,
        'request', jsonb_build_object('reapplied_from', p_original ->> 'id'));
    PERFORM service.open_attempt(v_attempt);
    v_receipt := service.redact(
        p_app_id, v_attempt.attempt_id, v_customer_id, 1000, NULL, '', '', 'the customer is under a hold');
    PERFORM service.append(p_app_id, jsonb_build_array(jsonb_build_object(
        'id', v_attempt.attempt_id, 'is_attempt', true)));
    IF v_receipt.outcome <> 'SUCCEEDED' THEN
        result := 'failed';
        message := v_receipt.body;
        RETURN;
    END IF;
    LOOP
        EXIT WHEN service.erase(p_app_id, v_customer_id, 1000);
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.reapply_redaction IS
    'Redacts a customer again, living or known to the trail alone, through an attempt as a request does.';

CREATE OR REPLACE FUNCTION service.reapply_hold(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer_id CONSTANT uuid := (p_original ->> 'customer_id')::uuid;
    v_until       CONSTANT timestamptz := (p_original -> 'request' -> 'hold' ->> 'until')::timestamptz;
    v_is_placed   CONSTANT boolean := p_original ->> 'action' = 'hold.place';
    v_image                text;
    v_is_held              boolean;
BEGIN
    result := 'unchanged';
    SELECT service.image(c) INTO v_image
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = v_customer_id
    FOR UPDATE;
    v_is_held := EXISTS (
        SELECT FROM public.legal_holds AS h WHERE h.app_id = p_app_id AND h.customer_id = v_customer_id);
    IF v_image IS NULL OR NOT v_is_placed AND NOT v_is_held OR v_is_placed AND v_until <= clock_timestamp() THEN
        RETURN;
    END IF;
    result := 'held';
    IF p_dry_run THEN
        RETURN;
    ELSIF v_is_placed THEN
        INSERT INTO public.legal_holds AS h (app_id, customer_id, reason, until, placed_at, placed_by)
        VALUES (p_app_id, v_customer_id, coalesce(p_original ->> 'reason', 'reapplied after a restore'), v_until,
                clock_timestamp(), coalesce(p_original ->> 'actor_name', session_user))
        ON CONFLICT ON CONSTRAINT legal_holds_pkey DO UPDATE
            SET reason = excluded.reason, until = excluded.until, placed_at = excluded.placed_at,
                placed_by = excluded.placed_by;
    ELSE
        DELETE FROM public.legal_holds AS h WHERE h.app_id = p_app_id AND h.customer_id = v_customer_id;
    END IF;
    PERFORM service.record_reapplication(
        p_app_id, p_original, 'SUCCEEDED', v_image,
        CASE WHEN v_is_placed THEN jsonb_build_object('hold', p_original -> 'request' -> 'hold') ELSE '{}' END);
END
$$;
COMMENT ON FUNCTION service.reapply_hold IS
    'Places a hold again, unless its time is over, or releases one.';

CREATE OR REPLACE FUNCTION service.reapply_schedule(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer_id CONSTANT uuid := (p_original ->> 'customer_id')::uuid;
    -- Microseconds, as an export has it.
    v_occurred_at CONSTANT timestamptz :=
        timestamptz 'epoch' + (p_original ->> 'occurred_at')::bigint * interval '1 microsecond';
    v_schedule             service.scheduled_deletions;
    v_image                text;
BEGIN
    result := 'unchanged';
    IF p_dry_run THEN
        SELECT * INTO v_schedule
        FROM service.scheduled_deletions AS s
        WHERE s.app_id = p_app_id AND s.customer_id = v_customer_id;
    ELSE
        v_schedule := service.lock_schedule(p_app_id, v_customer_id);
    END IF;
    SELECT service.image(c) INTO v_image
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = v_customer_id
    FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT
        FROM audit.entries AS e
        WHERE e.app_id = p_app_id AND e.id = v_schedule.scheduled_by
          AND e.occurred_at > v_occurred_at) THEN
        -- Scheduled after the restore.
        RETURN;
    ELSIF p_original ->> 'action' = 'deletion.cancel' THEN
        IF v_schedule.status = 'SCHEDULED' THEN
            result := 'cancelled';
        END IF;
        IF result = 'unchanged' OR p_dry_run THEN
            RETURN;
        END IF;
        PERFORM service.call_off(v_schedule);
        PERFORM service.record_reapplication(p_app_id, p_original, 'SUCCEEDED', v_image, '{}');
        RETURN;
    END IF;
    v_schedule.delete_at := (p_original -> 'request' -> 'schedule' ->> 'delete_at')::timestamptz;
    v_schedule.key_id := (p_original ->> 'actor_key_id')::uuid;
    IF v_image IS NULL OR v_schedule.delete_at IS NULL THEN
        RETURN;
    ELSIF NOT EXISTS (
        SELECT FROM service.api_keys AS k WHERE k.app_id = p_app_id AND k.id = v_schedule.key_id) THEN
        result := 'failed';
        message := 'the key that scheduled the deletion isn''t there';
        RETURN;
    END IF;
    result := 'scheduled';
    IF p_dry_run THEN
        RETURN;
    END IF;
    PERFORM service.store_schedule(
        v_schedule, p_app_id, v_customer_id, v_schedule.delete_at, p_original ->> 'reason', v_schedule.key_id,
        (p_original ->> 'id')::uuid);
    PERFORM service.record_reapplication(
        p_app_id, p_original, 'SUCCEEDED', v_image,
        jsonb_build_object('schedule', p_original -> 'request' -> 'schedule'));
END
$$;
COMMENT ON FUNCTION service.reapply_schedule IS
    'Schedules a deletion again, moves the one that is scheduled, or calls it off.';

CREATE OR REPLACE FUNCTION service.reapply_bulk_cancel(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_bulk service.bulk_deletions;
BEGIN
    result := 'unchanged';
    SELECT * INTO v_bulk
    FROM service.bulk_deletions AS b
    WHERE b.app_id = p_app_id AND b.bulk_id::text = p_original -> 'request' ->> 'bulk' AND b.status = 'RUNNING'
    FOR UPDATE;
    IF FOUND THEN
        result := 'cancelled';
    END IF;
    IF NOT FOUND OR p_dry_run THEN
        RETURN;
    END IF;
    UPDATE service.bulk_deletions AS b
    SET status = 'CANCELLED'
    WHERE b.app_id = p_app_id AND b.bulk_id = v_bulk.bulk_id;
    PERFORM service.record_reapplication(
        p_app_id, p_original, 'SUCCEEDED', NULL, jsonb_build_object('bulk', v_bulk.bulk_id));
END
$$;
COMMENT ON FUNCTION service.reapply_bulk_cancel IS
    'Calls a bulk deletion off again.';
