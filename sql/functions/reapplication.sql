-- Reapplication: does again, after a restore from an older backup, what a later export of the trail says was done.
--
-- Called by `customerd reapply`, as the owner: first note_ends, so that no worker deletes anew what a schedule or a bulk
-- deletion came to; then reapply, once for each entry that the database doesn't know. The change and its entry are one
-- transaction, as those of other commands are. Locks, in this order: those of a redaction; or a bulk deletion; or the
-- schedule, the customer, then the hold; the head of the chain last.

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

CREATE OR REPLACE FUNCTION service.note_ends(p_app_id uuid, p_deletions jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bulk_id  uuid;
    v_outcomes service.outcome[];
BEGIN
    UPDATE service.scheduled_deletions AS s
    SET status = CASE d.outcome WHEN 'SUCCEEDED' THEN 'DELETED' ELSE d.outcome END::service.schedule_status
    FROM jsonb_to_recordset(p_deletions) AS d (customer_id uuid, outcome text, request jsonb)
    WHERE s.app_id = p_app_id AND s.customer_id = d.customer_id AND s.status = 'SCHEDULED'
      AND s.scheduled_by::text = d.request ->> 'scheduled_by'
      AND d.outcome IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND', 'FORBIDDEN');
    FOR v_bulk_id IN
        SELECT b.bulk_id
        FROM service.bulk_deletions AS b
        WHERE b.app_id = p_app_id AND NOT b.is_over
          AND b.bulk_id::text IN (SELECT d.value -> 'request' ->> 'bulk' FROM jsonb_array_elements(p_deletions) AS d)
        ORDER BY b.bulk_id
        FOR UPDATE
    LOOP
        WITH ended AS (
            UPDATE service.bulk_items AS i
            SET outcome = d.outcome, attempt_id = d.id
            FROM jsonb_to_recordset(p_deletions) AS d (id uuid, customer_id uuid, outcome service.outcome, request jsonb)
            WHERE i.app_id = p_app_id AND i.bulk_id = v_bulk_id AND i.customer_id = d.customer_id AND i.outcome IS NULL
              AND d.request ->> 'bulk' = v_bulk_id::text
              AND d.outcome IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND', 'FORBIDDEN')
            RETURNING i.outcome)
        SELECT array_agg(e.outcome) INTO v_outcomes FROM ended AS e;
        PERFORM service.count_bulk_items(p_app_id, v_bulk_id, v_outcomes);
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.note_ends IS
    'Notes what scheduled deletions and items of bulk deletions came to, by their entries in an export, an array: else they would run again, against customers that have come back since.';

CREATE OR REPLACE FUNCTION service.reapply(
    p_app_id uuid, p_original jsonb, p_dry_run boolean, OUT result text, OUT message text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer_id CONSTANT uuid := (p_original ->> 'customer_id')::uuid;
    -- Microseconds, as an export has it.
    v_occurred_at CONSTANT timestamptz :=
        timestamptz 'epoch' + (p_original ->> 'occurred_at')::bigint * interval '1 microsecond';
    v_now                  timestamptz := clock_timestamp();
    v_customer    public.customers;
    v_image       text;
    v_hold        public.legal_holds;
    v_schedule    service.scheduled_deletions;
    v_bulk        service.bulk_deletions;
    v_tried       record;
    v_attempt     service.attempts;
    v_receipt     service.receipt;
    v_constraint  text;
    v_table       text;
    v_sqlstate    text;
    v_request     jsonb := '{}';
BEGIN
    result := 'unchanged';
    IF EXISTS (SELECT FROM audit.entries AS e WHERE e.app_id = p_app_id AND e.id = (p_original ->> 'id')::uuid)
       OR EXISTS (
           SELECT
           FROM audit.entries AS e
           WHERE e.app_id = p_app_id AND e.request ? 'reapplied_from'
             AND e.request ->> 'reapplied_from' = p_original ->> 'id' AND e.outcome = 'SUCCEEDED') THEN
        RETURN;
    END IF;

    -- A secret that was rotated away would be good again, and the new one is lost.
    IF p_original ->> 'action' IN ('key.revoke', 'key.rotate') THEN
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
        UPDATE service.api_keys AS k SET revoked_at = v_now WHERE k.client_key = v_request ->> 'key';
        PERFORM service.record_reapplication(
            p_app_id, p_original || '{"action": "key.revoke"}', 'SUCCEEDED', NULL, v_request);
        RETURN;
    END IF;

    IF p_original ->> 'action' = 'deletion.bulk-cancel' THEN
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
        RETURN;
    END IF;

    IF p_original ->> 'action' IN ('deletion.schedule', 'deletion.cancel') THEN
        IF p_dry_run THEN
            SELECT * INTO v_schedule
            FROM service.scheduled_deletions AS s
            WHERE s.app_id = p_app_id AND s.customer_id = v_customer_id;
        ELSE
            v_schedule := service.lock_schedule(p_app_id, v_customer_id);
        END IF;
        SELECT * INTO v_customer
        FROM public.customers AS c
        WHERE c.app_id = p_app_id AND c.id = v_customer_id
        FOR NO KEY UPDATE;
        v_image := CASE WHEN FOUND THEN service.image(v_customer) END;
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
            UPDATE service.scheduled_deletions AS s
            SET status = 'CANCELLED'
            WHERE s.app_id = p_app_id AND s.customer_id = v_customer_id;
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
        RETURN;
    END IF;

    IF p_original ->> 'action' = 'customer.redact' THEN
        SELECT * INTO v_customer FROM public.customers AS c WHERE c.app_id = p_app_id AND c.id = v_customer_id;
        IF NOT FOUND AND service.known_record(p_app_id, v_customer_id) IS NULL THEN
            RETURN;
        ELSIF service.is_held(p_app_id, v_customer_id) AND p_dry_run THEN
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
        v_attempt.admitted_at := v_now;
        v_attempt.lease_expires_at := v_now + interval '1 minute';
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
        RETURN;
    END IF;

    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = v_customer_id
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    v_image := service.image(v_customer);
    CASE p_original ->> 'action'
        WHEN 'hold.place' THEN
            IF (p_original -> 'request' -> 'hold' ->> 'until')::timestamptz <= v_now THEN
                RETURN;
            END IF;
            result := 'held';
            IF p_dry_run THEN
                RETURN;
            END IF;
            INSERT INTO public.legal_holds AS h (app_id, customer_id, reason, until, placed_at, placed_by)
            VALUES (p_app_id, v_customer_id, coalesce(p_original ->> 'reason', 'reapplied after a restore'),
                    (p_original -> 'request' -> 'hold' ->> 'until')::timestamptz, v_now,
                    coalesce(p_original ->> 'actor_name', session_user))
            ON CONFLICT ON CONSTRAINT legal_holds_pkey DO UPDATE
                SET reason = excluded.reason, until = excluded.until, placed_at = excluded.placed_at,
                    placed_by = excluded.placed_by;
            PERFORM service.record_reapplication(
                p_app_id, p_original, 'SUCCEEDED', v_image,
                jsonb_build_object('hold', p_original -> 'request' -> 'hold'));
        WHEN 'hold.release' THEN
            SELECT * INTO v_hold
            FROM public.legal_holds AS h
            WHERE h.app_id = p_app_id AND h.customer_id = v_customer_id;
            IF FOUND THEN
                result := 'held';
            END IF;
            IF NOT FOUND OR p_dry_run THEN
                RETURN;
            END IF;
            DELETE FROM public.legal_holds AS h WHERE h.app_id = p_app_id AND h.customer_id = v_customer_id;
            PERFORM service.record_reapplication(p_app_id, p_original, 'SUCCEEDED', v_image, '{}');
        WHEN 'customer.delete' THEN
            IF p_dry_run THEN
                SELECT * INTO v_tried FROM service.try_deletion(p_app_id, v_customer_id);
                result := CASE WHEN v_tried.deletable THEN 'deleted' ELSE 'failed' END;
                message := CASE WHEN v_tried.deletable IS NOT true
                                THEN coalesce('refused by ' || v_tried.constraint_name, 'can''t be tried now') END;
                RETURN;
            END IF;
            BEGIN
                DELETE FROM public.legal_holds AS h
                WHERE h.app_id = p_app_id AND h.customer_id = v_customer_id AND h.until <= v_now;
                DELETE FROM public.customers AS c WHERE c.app_id = p_app_id AND c.id = v_customer_id;
                SET CONSTRAINTS ALL IMMEDIATE;
                result := 'deleted';
            EXCEPTION WHEN integrity_constraint_violation THEN
                GET STACKED DIAGNOSTICS
                    v_sqlstate = RETURNED_SQLSTATE, v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
                result := 'failed';
                message := format('refused by %s', v_constraint);
            END;
            -- What is refused again has its entry already.
            IF result = 'failed' AND EXISTS (
                SELECT
                FROM audit.entries AS e
                WHERE e.app_id = p_app_id AND e.request ? 'reapplied_from'
                  AND e.request ->> 'reapplied_from' = p_original ->> 'id') THEN
                RETURN;
            END IF;
            PERFORM service.record_reapplication(
                p_app_id, p_original, CASE result WHEN 'deleted' THEN 'SUCCEEDED' ELSE 'REFUSED' END, v_image, '{}',
                CASE result WHEN 'deleted' THEN '{}'::jsonb
                            ELSE jsonb_build_object(
                                'error_code', 'P2003', 'sqlstate', v_sqlstate, 'constraint_name', v_constraint,
                                'referencing_table', v_table) END);
        ELSE
            RAISE EXCEPTION 'nothing is done again for %', p_original ->> 'action';
    END CASE;
END
$$;
COMMENT ON FUNCTION service.reapply IS
    'Does again what an entry of an export says was done, if the database has forgotten it: deleted, redacted, revoked (a key whose secret was rotated too), held (a hold placed or released), scheduled, cancelled (a scheduled or a bulk deletion), unchanged, or failed with the reason. Repeating it changes nothing.';
