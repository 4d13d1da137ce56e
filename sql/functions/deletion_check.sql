-- The deletion-check: what a DELETE would answer now.
--
-- Called by CheckDeletion and by the dry run of a bulk request. Its verdict is that of a DELETE that is tried and
-- rolled back: it holds the locks of a DELETE for the time of the try, and waits for none.

CREATE OR REPLACE FUNCTION service.try_deletion(
    p_app_id uuid, p_customer_id uuid,
    OUT deletable boolean, OUT referencing_table text, OUT constraint_name text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_is_done    boolean := false;
    v_deleted    bigint;
    v_sqlstate   text;
    v_schema     text;
    v_table      text;
    v_column     text;
    v_constraint text;
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        RETURN;
    END IF;
    BEGIN
        -- Short: what another transaction holds is not waited for, and others wait for this as little.
        PERFORM set_config('lock_timeout', '100ms', true);
        PERFORM
        FROM public.customers AS c
        WHERE c.app_id = p_app_id AND c.id = p_customer_id
        FOR UPDATE NOWAIT;
        -- As DeleteCustomer does.
        DELETE FROM public.legal_holds AS h
        WHERE h.app_id = p_app_id AND h.customer_id = p_customer_id AND h.until <= clock_timestamp();
        PERFORM service.refuse_foreign_code();
        -- DeleteCustomer deletes in a WITH, where PostgreSQL refuses rules.
        IF EXISTS (
            SELECT
            FROM pg_rewrite AS r
            WHERE r.ev_class IN ('public.customers'::regclass, 'public.legal_holds'::regclass)
              AND r.ev_type = '4' AND r.ev_enabled <> 'D') THEN
            RAISE EXCEPTION 'a rule prevents deletions' USING ERRCODE = 'feature_not_supported';
        END IF;
        -- Planned each time: PostgreSQL keeps a plan that a rule made of it even when the rule is gone.
        EXECUTE 'DELETE FROM public.customers AS c WHERE c.app_id = $1 AND c.id = $2' USING p_app_id, p_customer_id;
        GET DIAGNOSTICS v_deleted = ROW_COUNT;
        SET CONSTRAINTS ALL IMMEDIATE;
        -- Nothing of this stays: the exception rolls it back. Variables do.
        v_is_done := true;
        RAISE EXCEPTION 'tried' USING ERRCODE = 'CD005';
    EXCEPTION
        WHEN SQLSTATE 'CD005' THEN
            deletable := v_is_done AND v_deleted > 0;
        -- What passes. A serialization failure doesn't: at READ COMMITTED it is a trigger's.
        WHEN lock_not_available OR deadlock_detected THEN
            RETURN;
        WHEN integrity_constraint_violation THEN
            GET STACKED DIAGNOSTICS
                v_sqlstate = RETURNED_SQLSTATE, v_schema = SCHEMA_NAME, v_table = TABLE_NAME,
                v_column = COLUMN_NAME, v_constraint = CONSTRAINT_NAME;
            deletable := false;
            SELECT r.referencing_table, r.constraint_name INTO referencing_table, constraint_name
            FROM service.refusal(v_sqlstate, v_schema, v_table, v_column, v_constraint) AS r;
        WHEN insufficient_resources OR operator_intervention OR system_error THEN
            RAISE;
        WHEN OTHERS THEN
            -- A trigger, or a missing privilege: the deletion would fail.
            deletable := false;
    END;
END
$$;
COMMENT ON FUNCTION service.try_deletion IS
    'Deletes a customer and rolls that back, to find out whether it can be deleted: triggers and policies act as on the deletion itself, so it runs with the rights of its caller. deletable NULL: it can''t be tried now, because the customer or its records are locked or the server is read-only. Otherwise the constraint that refused, if one did.';

CREATE OR REPLACE FUNCTION service.reference_item(p_table text, p_constraint text, p_count bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{"table":' || to_json(p_table) || ',"constraint":' || to_json(p_constraint)
    || ',"count":' || coalesce(p_count::text, 'null') || '}';
COMMENT ON FUNCTION service.reference_item IS 'A foreign key and its number of rows as the API renders it.';

CREATE OR REPLACE FUNCTION service.deletion_check(
    p_app_id uuid, p_customer_id uuid,
    OUT customer text, OUT deletable boolean, OUT blockers text, OUT cascades text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_tried    record;
    v_reached  record;
    v_item     text;
    v_is_known boolean := false;
    v_count    bigint;
    v_refuses  text[] := '{}';
    v_acts     text[] := '{}';
BEGIN
    SELECT service.record(c.*) INTO customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The try leaves nothing that would have to be durable.
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO v_tried FROM service.try_deletion(p_app_id, p_customer_id);
    FOR v_reached IN
        SELECT *
        FROM service.reached_rows(p_app_id, p_customer_id)
        -- If it can be deleted and nothing acts, there is nothing to be counted.
        WHERE v_tried.deletable IS NOT true OR service.has_acting_keys()
    LOOP
        -- A hold whose time is over is removed by a deletion.
        CONTINUE WHEN v_reached.constraint_name = 'legal_holds_keep_a_customer'
                  AND NOT service.is_held(p_app_id, p_customer_id);
        v_item := service.reference_item(v_reached.table_name, v_reached.constraint_name, v_reached.count);
        IF v_reached.action IS NOT NULL THEN
            v_acts := v_acts || v_item;
        ELSIF v_tried.deletable IS NOT true THEN
            v_refuses := v_refuses || v_item;
        END IF;
        IF (v_reached.table_name, v_reached.constraint_name) = (v_tried.referencing_table, v_tried.constraint_name) THEN
            v_is_known := v_reached.action IS NULL;
            v_count := v_reached.count;
        END IF;
    END LOOP;
    -- What refused may be no key that refuses: one that acts on a column that can't be null, or another constraint.
    IF v_tried.constraint_name IS NOT NULL AND NOT v_is_known THEN
        v_refuses := v_refuses
            || service.reference_item(v_tried.referencing_table, v_tried.constraint_name, v_count);
    END IF;
    deletable := coalesce(v_tried.deletable, v_refuses = '{}');
    blockers := '[' || array_to_string(v_refuses, ',') || ']';
    cascades := '[' || array_to_string(v_acts, ',') || ']';
END
$$;
COMMENT ON FUNCTION service.deletion_check IS
    'Whether a customer could be deleted now, which foreign keys refuse, and which would take rows along, with the number of rows. Found out by trying; by counting alone where that can''t be done now. All NULL when there is no such customer.';
