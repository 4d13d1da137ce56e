-- Restoration: what brings a deleted customer back from the before-image of its last deletion.
--
-- Called by the operation RestoreCustomer, in its unit of work. Locks, in this order: the app's redactions (shared),
-- the customer if it is there; the deletion's attempt and, if that lacks its entry, the head of the chain; the
-- customer's key, by inserting it; the schedule of the customer, who isn't visible to others yet.

CREATE OR REPLACE FUNCTION service.record_deletion(p_app_id uuid, p_customer_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_entries jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object('id', a.attempt_id, 'is_attempt', true)) INTO v_entries
    FROM (SELECT o.attempt_id
          FROM service.attempts AS o
          WHERE o.app_id = p_app_id AND o.customer_id = p_customer_id
            AND o.action = 'customer.delete' AND o.outcome = 'SUCCEEDED' AND o.entry_seq IS NULL
          ORDER BY o.attempt_id
          FOR UPDATE) AS a;
    IF v_entries IS NOT NULL THEN
        PERFORM service.append(p_app_id, v_entries);
    END IF;
END
$$;
COMMENT ON FUNCTION service.record_deletion IS
    'Appends the entry of a customer''s last deletion if it is still missing, or waits for the transaction that is about to: what comes after the deletion must stand behind it in the trail.';

CREATE OR REPLACE FUNCTION service.last_deletion(
    p_app_id uuid, p_customer_id uuid, OUT before_image jsonb, OUT deleted_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT service.is_under_redaction(e.app_id, e.customer_id, e.seq) THEN e.before_image END,
           e.recorded_at
    FROM audit.entries AS e
    WHERE e.app_id = p_app_id AND e.customer_id = p_customer_id
      AND e.action = 'customer.delete' AND e.outcome = 'SUCCEEDED'
    ORDER BY e.seq DESC
    LIMIT 1
$$;
COMMENT ON FUNCTION service.last_deletion IS
    'The last successful deletion of a customer, by the trail: what was deleted, NULL when redacted, and when. No row when there was none.';

CREATE OR REPLACE FUNCTION service.pending_deletion(p_app_id uuid, p_customer_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('cancelled_schedule', service.rfc3339(s.delete_at))
    FROM service.scheduled_deletions AS s
    WHERE s.app_id = p_app_id AND s.customer_id = p_customer_id AND s.status = 'SCHEDULED'
$$;
COMMENT ON FUNCTION service.pending_deletion IS
    'The scheduled deletion that a restoration calls off, for its entry. NULL without one.';

CREATE OR REPLACE FUNCTION service.insert_image(p_app_id uuid, p_customer_id uuid, p_image jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_values   jsonb;
    v_columns  text;
    v_record   text;
    v_schedule service.scheduled_deletions;
BEGIN
    v_values := coalesce(p_image -> 'columns', '{}') || jsonb_build_object(
        'app_id', p_app_id,
        'id', p_customer_id,
        'first_name', p_image -> 'first_name',
        'last_name', p_image -> 'last_name',
        'email', p_image -> 'email',
        'phone_number', p_image -> 'phone_number',
        'status', p_image -> 'status',
        'customer_type', p_image -> 'customer_type',
        'last_spent', p_image -> 'last_spent',
        'last_purchase_date', p_image -> 'last_purchase_date',
        'created_at', p_image -> 'createdAt',
        'updated_at', clock_timestamp());
    -- The columns that the image knows and that can be written; others get their defaults.
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum) INTO v_columns
    FROM pg_attribute AS a
    WHERE a.attrelid = 'public.customers'::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attgenerated = '' AND v_values ? a.attname;
    EXECUTE format(
        'INSERT INTO public.customers AS c (%1$s) OVERRIDING SYSTEM VALUE
         SELECT %1$s FROM jsonb_populate_record(NULL::public.customers, $1)
         ON CONFLICT ON CONSTRAINT customers_pkey DO NOTHING
         RETURNING service.record(c.*)', v_columns)
    INTO v_record
    USING v_values;
    -- Scheduled before the deletion that is undone: it would happen again, unexpectedly.
    IF v_record IS NOT NULL THEN
        v_schedule := service.lock_schedule(p_app_id, p_customer_id);
        IF v_schedule.status = 'SCHEDULED' THEN
            PERFORM service.call_off(v_schedule);
        END IF;
    END IF;
    RETURN v_record;
END
$$;
COMMENT ON FUNCTION service.insert_image IS
    'Inserts a customer from a before-image, with every further column that the image has, and calls off a deletion that is scheduled. NULL if the customer exists.';
