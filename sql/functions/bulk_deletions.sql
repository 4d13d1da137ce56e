-- Large bulk deletions: thousands of customers, in the background. How they come to an end: bulk_items.sql.
--
-- Called by the operations of BulkDeletion. Locks, in this order: the own attempt, the bulk deletion.

CREATE OR REPLACE FUNCTION service.bulk_deletion(b service.bulk_deletions) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
RETURN (
    SELECT row_to_json(r)::text
    FROM (SELECT (b).bulk_id AS id, (b).status AS status, (b).total AS total, (b).deleted AS deleted, (b).refused AS refused,
                 (b).not_found AS not_found, (b).failed AS failed) AS r);
COMMENT ON FUNCTION service.bulk_deletion(service.bulk_deletions) IS
    'A bulk deletion as the API renders it. In a dry run deleted is how many would be.';

CREATE OR REPLACE FUNCTION service.bulk_state(p_app_id uuid, p_bulk_id uuid) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT service.bulk_deletion(b)
    FROM service.bulk_deletions AS b
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id
$$;
COMMENT ON FUNCTION service.bulk_state IS 'How far a bulk deletion has come; NULL if the app has no such one.';

CREATE OR REPLACE FUNCTION service.find_bulks(
    p_app_id uuid, p_status text, p_before timestamptz, p_before_bulk uuid, p_limit int,
    OUT bulk_id uuid, OUT created_at timestamptz, OUT bulk text)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.bulk_id, b.created_at,
           rtrim(service.bulk_deletion(b), '}') || ',"dry_run":' || to_json(b.dry_run)
               || ',"created_at":' || to_json(service.rfc3339(b.created_at)) || ',"created_by":' || to_json(k.name) || '}'
    FROM service.bulk_deletions AS b
    JOIN service.api_keys AS k ON k.app_id = b.app_id AND k.id = b.key_id
    WHERE b.app_id = p_app_id
      AND (p_status IS NULL OR b.status = p_status::service.bulk_status)
      AND (p_before IS NULL OR (b.created_at, b.bulk_id) < (p_before, p_before_bulk))
    ORDER BY b.created_at DESC, b.bulk_id DESC
    LIMIT p_limit
$$;
COMMENT ON FUNCTION service.find_bulks IS 'Bulk deletions of an app, dry runs too, the newest first, with how far each has come.';

CREATE OR REPLACE FUNCTION service.bulk_results(p_app_id uuid, p_bulk_id uuid, p_answers jsonb) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(
        '{"id":' || to_json(i.customer_id) || ',' || coalesce(p_answers ->> i.outcome::text, '"statusCode":null')
            || coalesce(',"entry":' || to_json(i.attempt_id), '') || E'}\n',
        '' ORDER BY i."position")
    FROM service.bulk_items AS i
    WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id
$$;
COMMENT ON FUNCTION service.bulk_results IS
    'The items of a bulk deletion, one a line in the order asked, each with the members that its outcome is answered with; NULL if the app has no such bulk deletion.';

CREATE OR REPLACE FUNCTION service.create_bulk(
    p_app_id uuid, p_attempt_id uuid, p_customer_ids uuid[], p_dry_run boolean, p_reason text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bulk service.bulk_deletions;
BEGIN
    INSERT INTO service.bulk_deletions (app_id, bulk_id, dry_run, reason, key_id, created_at, try_after, total)
    SELECT a.app_id, a.attempt_id, p_dry_run, coalesce(p_reason, a.entry ->> 'reason'), a.key_id, a.admitted_at,
           a.admitted_at, cardinality(p_customer_ids)
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    RETURNING * INTO v_bulk;
    INSERT INTO service.bulk_items (app_id, bulk_id, "position", customer_id)
    SELECT p_app_id, p_attempt_id, i."position", i.customer_id
    FROM unnest(p_customer_ids) WITH ORDINALITY AS i (customer_id, "position");
    RETURN service.finish(
        p_app_id, p_attempt_id, 'ACCEPTED', service.bulk_deletion(v_bulk), NULL,
        jsonb_build_object('dry_run', p_dry_run, 'ids', cardinality(p_customer_ids)));
END
$$;
COMMENT ON FUNCTION service.create_bulk IS 'Begins a bulk deletion. It runs as the key of this attempt.';

CREATE OR REPLACE FUNCTION service.cancel_bulk(
    p_app_id uuid, p_attempt_id uuid, p_bulk_id uuid, p_not_found text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bulk service.bulk_deletions;
BEGIN
    UPDATE service.bulk_deletions AS b
    SET status = CASE b.status WHEN 'RUNNING' THEN 'CANCELLED' ELSE b.status END
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id
    RETURNING * INTO v_bulk;
    IF NOT FOUND THEN
        RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', p_not_found);
    END IF;
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', service.bulk_deletion(v_bulk), NULL,
        jsonb_build_object('bulk', p_bulk_id));
END
$$;
COMMENT ON FUNCTION service.cancel_bulk IS
    'Stops a bulk deletion: no further item is begun. One that is done stays so.';
