-- Holds: what keeps a customer from being deleted and redacted.
--
-- Called by the operations PlaceHold, ReleaseHold and GetHold, by a redaction (is_held) and by everything that deletes
-- or tries to (a hold whose time is over is removed first, since its foreign key would refuse for ever).
-- Locks, in this order: the customer, the hold.

CREATE OR REPLACE FUNCTION service.legal_hold(h public.legal_holds) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.row_to_json(ROW(
        h.customer_id,
        h.reason,
        service.rfc3339(h.until),
        service.rfc3339(h.placed_at),
        h.placed_by)::service.hold_record)::pg_catalog.text
$$;
COMMENT ON FUNCTION service.legal_hold(public.legal_holds) IS 'A hold as the API renders it.';

CREATE OR REPLACE FUNCTION service.is_held(p_app_id uuid, p_customer_id uuid) RETURNS boolean
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT
        FROM public.legal_holds AS h
        WHERE h.app_id = is_held.p_app_id AND h.customer_id = is_held.p_customer_id
          AND (h.until IS NULL OR h.until > clock_timestamp()))
$$;
COMMENT ON FUNCTION service.is_held IS 'Whether a hold keeps the customer now.';

CREATE OR REPLACE FUNCTION service.place_hold(
    p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_reason text, p_until timestamptz, p_entity_tags text[],
    p_not_found text, p_mismatch text, p_past text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer public.customers;
    v_hold     public.legal_holds;
BEGIN
    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', p_not_found);
    ELSIF service.etag(service.record(v_customer)) <> ALL (p_entity_tags) THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'MISMATCH', p_mismatch, service.image(v_customer));
    ELSIF p_until <= clock_timestamp() THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'INVALID', p_past, service.image(v_customer));
    END IF;
    -- What the entry tells of the reason is subject data, as that of the header is.
    UPDATE service.attempts AS a
    SET entry = a.entry || jsonb_build_object('reason', p_reason)
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id;
    INSERT INTO public.legal_holds AS h (app_id, customer_id, reason, until, placed_at, placed_by)
    SELECT p_app_id, p_customer_id, p_reason, p_until, clock_timestamp(), a.entry ->> 'actor_name'
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    ON CONFLICT ON CONSTRAINT legal_holds_pkey DO UPDATE
        SET reason = excluded.reason, until = excluded.until, placed_at = excluded.placed_at,
            placed_by = excluded.placed_by
    RETURNING * INTO v_hold;
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', service.legal_hold(v_hold), service.image(v_customer),
        jsonb_build_object('hold', jsonb_build_object('until', service.rfc3339(v_hold.until))));
END
$$;
COMMENT ON FUNCTION service.place_hold IS
    'Places a hold on a customer, or replaces the one that there is. The reason becomes that of the entry.';

CREATE OR REPLACE FUNCTION service.release_hold(
    p_app_id uuid, p_attempt_id uuid, p_customer_id uuid, p_entity_tags text[],
    p_not_found text, p_mismatch text, p_no_hold text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    v_customer public.customers;
    v_hold     public.legal_holds;
BEGIN
    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', p_not_found);
    ELSIF service.etag(service.record(v_customer)) <> ALL (p_entity_tags) THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'MISMATCH', p_mismatch, service.image(v_customer));
    END IF;
    DELETE FROM public.legal_holds AS h
    WHERE h.app_id = p_app_id AND h.customer_id = p_customer_id
    RETURNING * INTO v_hold;
    -- One whose time is over is gone for clients.
    IF NOT FOUND OR v_hold.until <= clock_timestamp() THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', p_no_hold, service.image(v_customer));
    END IF;
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', service.legal_hold(v_hold), service.image(v_customer));
END
$$;
COMMENT ON FUNCTION service.release_hold IS 'Removes the hold of a customer, and answers with it.';
