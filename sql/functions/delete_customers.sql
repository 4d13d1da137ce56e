-- Bulk deletion: many customers, each in a unit of work with an audit entry of its own, the whole under one key.
--
-- Called by the operation DeleteCustomers. Locks: those of admission for an item; the app's redactions (shared), then
-- the whole's attempt, for the answer.

CREATE OR REPLACE FUNCTION service.open_item(
    p_app_id uuid, p_whole_id uuid, p_fence int, p_item_id uuid, p_customer_id uuid, p_idempotency_key uuid,
    p_fingerprint bytea) RETURNS service.opened
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_item service.attempts;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO v_item
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_whole_id AND a.fence = p_fence AND a.outcome IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the bulk request is no longer held under this fence' USING ERRCODE = 'CD001';
    END IF;
    v_item.entry := v_item.entry || jsonb_build_object('idempotency_key', v_item.idempotency_key);
    v_item.attempt_id := p_item_id;
    v_item.action := 'customer.delete';
    v_item.customer_id := p_customer_id;
    v_item.idempotency_key := p_idempotency_key;
    v_item.fingerprint := p_fingerprint;
    v_item.admitted_at := clock_timestamp();
    RETURN service.open_attempt(v_item);
END
$$;
COMMENT ON FUNCTION service.open_item IS
    'Opens the attempt of one customer of a bulk request, under the lease of the whole. Its idempotency key derives from the whole''s, so a retry finds what was done.';

CREATE OR REPLACE FUNCTION service.check_item(
    p_app_id uuid, p_customer_id uuid, OUT outcome service.outcome, OUT customer text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM service.await_redactions(p_app_id);
    SELECT CASE WHEN c.customer IS NULL THEN 'NOT_FOUND' WHEN c.deletable THEN 'SUCCEEDED' ELSE 'REFUSED' END,
           c.customer
    INTO outcome, customer
    FROM service.deletion_check(p_app_id, p_customer_id) AS c;
END
$$;
COMMENT ON FUNCTION service.check_item IS
    'How deleting one customer of a bulk request would end. Reads nothing that a redaction under way is about to erase. With the rights of its caller, as deletion_check.';

CREATE OR REPLACE FUNCTION service.finish_bulk(
    p_app_id uuid, p_attempt_id uuid, p_body text, p_request jsonb, p_customer_ids uuid[]) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_attempt service.attempts;
BEGIN
    PERFORM service.await_redactions(p_app_id);
    PERFORM service.finish(p_app_id, p_attempt_id, 'SUCCEEDED', p_body, NULL, p_request);
    -- A customer may have been redacted since the request was admitted.
    PERFORM service.redact_bulk_answers(r.app_id, r.customer_id, p_attempt_id)
    FROM service.attempts AS a
    JOIN service.redactions AS r ON r.app_id = a.app_id AND r.redacted_at >= a.admitted_at
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id AND r.customer_id = ANY (p_customer_ids);
    SELECT * INTO v_attempt FROM service.attempts AS a WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id;
    RETURN service.receipt(v_attempt);
END
$$;
COMMENT ON FUNCTION service.finish_bulk IS
    'The receipt of a bulk request, without what was redacted while it ran.';
