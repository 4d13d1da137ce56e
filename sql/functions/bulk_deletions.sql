-- Large bulk deletions: thousands of customers, in the background, at a rate that requests don't feel.
--
-- An item points to the attempt that deletes it, as a schedule does (schedule.sql): a further attempt is opened only when
-- the one before certainly had no effect. So no item is repeated, whatever dies when.
--
-- Called by the operations of BulkDeletion, and by the BulkRunner of every instance (bulk_apps, bulk_lag, take, end).
-- Locks, in this order: the own attempt, the bulk deletion, its items.

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

CREATE OR REPLACE FUNCTION service.bulk_results(p_app_id uuid, p_bulk_id uuid, p_messages jsonb) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT string_agg(
        '{"id":' || to_json(i.customer_id) || ',"statusCode":' || coalesce(i.status_code::text, 'null')
            || coalesce(',"message":' || to_json(p_messages ->> i.status_code::text), '')
            || coalesce(',"entry":' || to_json(i.attempt_id), '') || E'}\n',
        '' ORDER BY i."position")
    FROM service.bulk_items AS i
    WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id
$$;
COMMENT ON FUNCTION service.bulk_results IS
    'The items of a bulk deletion, one a line in the order asked, with the message for each status; NULL if the app has no such bulk deletion.';

CREATE OR REPLACE FUNCTION service.create_bulk(
    p_app_id uuid, p_attempt_id uuid, p_customer_ids uuid[], p_dry_run boolean, p_reason text) RETURNS service.receipt
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bulk service.bulk_deletions;
BEGIN
    INSERT INTO service.bulk_deletions (app_id, bulk_id, dry_run, reason, key_id, created_at, try_after, total)
    SELECT a.app_id, a.attempt_id, p_dry_run, coalesce(p_reason, a.entry ->> 'reason'), a.key_id, a.admitted_at, a.admitted_at,
           cardinality(p_customer_ids)
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    RETURNING * INTO v_bulk;
    INSERT INTO service.bulk_items (app_id, bulk_id, "position", customer_id)
    SELECT p_app_id, p_attempt_id, i."position", i.customer_id
    FROM unnest(p_customer_ids) WITH ORDINALITY AS i (customer_id, "position");
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', 202, service.bulk_deletion(v_bulk), NULL,
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
        RETURN service.finish(p_app_id, p_attempt_id, 'NOT_FOUND', 404, p_not_found);
    END IF;
    RETURN service.finish(
        p_app_id, p_attempt_id, 'SUCCEEDED', 200, service.bulk_deletion(v_bulk), NULL,
        jsonb_build_object('bulk', p_bulk_id));
END
$$;
COMMENT ON FUNCTION service.cancel_bulk IS
    'Stops a bulk deletion: no further item is begun. One that is done stays so.';

CREATE OR REPLACE FUNCTION service.count_bulk_items(p_app_id uuid, p_bulk_id uuid, p_status_codes int[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.bulk_deletions AS b
    SET deleted = b.deleted + c.deleted, refused = b.refused + c.refused, not_found = b.not_found + c.not_found,
        failed = b.failed + c.failed
    FROM (SELECT count(*) FILTER (WHERE s.code = 200) AS deleted,
                 count(*) FILTER (WHERE s.code = 400) AS refused,
                 count(*) FILTER (WHERE s.code = 404) AS not_found,
                 count(*) FILTER (WHERE s.code NOT IN (200, 400, 404)) AS failed
          FROM unnest(p_status_codes) AS s (code)) AS c
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id AND cardinality(p_status_codes) > 0
$$;
COMMENT ON FUNCTION service.count_bulk_items IS
    'Counts items that have come to an end, in the transaction in which they do: whoever asks how far a bulk deletion has come reads no item.';

CREATE OR REPLACE FUNCTION service.settle_bulk_items(p_app_id uuid, p_bulk_id uuid) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH came AS (
        SELECT o."position",
               coalesce(a.status_code, e.status_code) AS status_code,
               coalesce(a.outcome::text, e.outcome) IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND', 'FORBIDDEN')
                   OR coalesce(a.outcome::text, e.outcome) = 'FAILED'
                      AND coalesce(a.status_code, e.status_code) = 500 AS is_final,
               a.attempt_id IS NOT NULL AND a.outcome IS NULL AS is_running
        FROM service.bulk_items AS o
        LEFT JOIN service.attempts AS a ON a.app_id = o.app_id AND a.attempt_id = o.attempt_id
        -- The attempt is forgotten after a day, its entry never.
        LEFT JOIN audit.entries AS e ON a.attempt_id IS NULL AND e.app_id = o.app_id AND e.id = o.attempt_id
        WHERE o.app_id = p_app_id AND o.bulk_id = p_bulk_id AND o.status_code IS NULL
          AND o.attempt_id IS NOT NULL),
    settled AS (
        UPDATE service.bulk_items AS i
        SET status_code = CASE WHEN came.is_final THEN came.status_code END,
            attempt_id = CASE WHEN came.is_final THEN i.attempt_id END
        FROM came
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i."position" = came."position" AND NOT came.is_running
        RETURNING i.status_code)
    SELECT service.count_bulk_items(
        p_app_id, p_bulk_id, (SELECT array_agg(s.status_code) FROM settled AS s WHERE s.status_code IS NOT NULL))
$$;
COMMENT ON FUNCTION service.settle_bulk_items IS
    'Brings items to the ends that their attempts have come to; those whose attempt certainly had no effect are to be done again.';

CREATE OR REPLACE FUNCTION service.bulk_apps() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.app_id
    FROM service.bulk_deletions AS b
    WHERE NOT b.is_settled
      AND (b.try_after <= clock_timestamp() OR b.try_after > clock_timestamp() + interval '2 minutes')
    GROUP BY b.app_id
    ORDER BY min(b.try_after)
$$;
COMMENT ON FUNCTION service.bulk_apps IS 'The apps that have bulk deletions to be worked on, the one that has waited longest first.';

CREATE OR REPLACE FUNCTION service.bulk_lag(OUT bulks bigint, OUT seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), coalesce(greatest(extract(epoch FROM clock_timestamp() - min(b.try_after)), 0), 0)
    FROM service.bulk_deletions AS b
    WHERE NOT b.is_settled
$$;
COMMENT ON FUNCTION service.bulk_lag IS
    'How many bulk deletions aren''t over, and for how many seconds the one that has waited longest has waited for an instance.';

CREATE OR REPLACE FUNCTION service.take_bulk_items(p_app_id uuid, p_lease interval, p_ttl interval, p_limit int)
RETURNS SETOF service.due_item
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now   timestamptz := clock_timestamp();
    v_bulk  service.bulk_deletions;
    v_item  service.bulk_items;
    v_due   service.due_deletion;
    v_taken int := 0;
BEGIN
    DELETE FROM service.bulk_deletions AS b
    USING (SELECT o.app_id, o.bulk_id
           FROM service.bulk_deletions AS o
           WHERE o.app_id = p_app_id AND o.is_settled AND o.created_at < v_now - interval '30 days'
           LIMIT 1
           FOR UPDATE SKIP LOCKED) AS old
    WHERE b.app_id = old.app_id AND b.bulk_id = old.bulk_id;

    SELECT * INTO v_bulk
    FROM service.bulk_deletions AS b
    WHERE b.app_id = p_app_id AND NOT b.is_settled
      -- What waits longer than a lease lasts began to do so before the clock stepped back.
      AND (b.try_after <= v_now OR b.try_after > v_now + interval '2 minutes')
    ORDER BY b.try_after
    LIMIT 1
    FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM service.settle_bulk_items(v_bulk.app_id, v_bulk.bulk_id);
    FOR v_item IN
        SELECT *
        FROM service.bulk_items AS i
        WHERE i.app_id = v_bulk.app_id AND i.bulk_id = v_bulk.bulk_id AND v_bulk.status = 'RUNNING'
          AND i.status_code IS NULL AND i.attempt_id IS NULL
        ORDER BY i."position"
        LIMIT p_limit
    LOOP
        v_due := NULL;
        IF NOT v_bulk.dry_run THEN
            v_due := service.open_deletion(
                v_bulk.app_id, v_item.customer_id, v_bulk.key_id, v_bulk.reason,
                jsonb_build_object('bulk', v_bulk.bulk_id), p_lease, p_ttl);
            UPDATE service.bulk_items AS i
            SET attempt_id = v_due.attempt_id, status_code = CASE WHEN v_due.fence IS NULL THEN 403 END
            WHERE i.app_id = v_bulk.app_id AND i.bulk_id = v_bulk.bulk_id AND i."position" = v_item."position";
            IF v_due.fence IS NULL THEN
                PERFORM service.count_bulk_items(v_bulk.app_id, v_bulk.bulk_id, ARRAY [403]);
            END IF;
        END IF;
        v_taken := v_taken + 1;
        CONTINUE WHEN v_due.attempt_id IS NOT NULL AND v_due.fence IS NULL;
        RETURN NEXT ROW(v_bulk.app_id, v_bulk.bulk_id, v_item."position", v_item.customer_id, v_due.attempt_id, v_due.fence)
            ::service.due_item;
    END LOOP;
    IF v_taken > 0 THEN
        UPDATE service.bulk_deletions AS b
        SET try_after = v_now + p_lease
        WHERE b.app_id = v_bulk.app_id AND b.bulk_id = v_bulk.bulk_id;
    ELSIF EXISTS (
        SELECT
        FROM service.bulk_items AS i
        WHERE i.app_id = v_bulk.app_id AND i.bulk_id = v_bulk.bulk_id
          AND i.status_code IS NULL AND (i.attempt_id IS NOT NULL OR v_bulk.status = 'RUNNING')) THEN
        -- An attempt of a dead instance, which recovery ends.
        UPDATE service.bulk_deletions AS b
        SET try_after = v_now + interval '1 s'
        WHERE b.app_id = v_bulk.app_id AND b.bulk_id = v_bulk.bulk_id;
    ELSE
        UPDATE service.bulk_deletions AS b
        SET status = CASE b.status WHEN 'RUNNING' THEN 'DONE' ELSE b.status END, is_settled = true, reason = NULL
        WHERE b.app_id = v_bulk.app_id AND b.bulk_id = v_bulk.bulk_id;
    END IF;
END
$$;
COMMENT ON FUNCTION service.take_bulk_items IS
    'Takes the next items of the bulk deletion of an app that has waited longest, under a lease, with an attempt each. One without items left is done. Any number of instances.';

CREATE OR REPLACE FUNCTION service.end_bulk_items(
    p_app_id uuid, p_bulk_id uuid, p_positions int[], p_status_codes int[], p_pause interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_status_codes int[];
BEGIN
    PERFORM
    FROM service.bulk_deletions AS b
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id
    FOR UPDATE;
    WITH settled AS (
        UPDATE service.bulk_items AS i
        SET status_code = c.status_code
        FROM unnest(p_positions, p_status_codes) AS c ("position", status_code)
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i."position" = c."position"
          AND i.status_code IS NULL AND i.attempt_id IS NULL
        RETURNING i.status_code)
    SELECT array_agg(s.status_code) INTO v_status_codes FROM settled AS s;
    PERFORM service.count_bulk_items(p_app_id, p_bulk_id, v_status_codes);
    PERFORM service.settle_bulk_items(p_app_id, p_bulk_id);
    UPDATE service.bulk_deletions AS b
    SET try_after = clock_timestamp() + p_pause
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id;
END
$$;
COMMENT ON FUNCTION service.end_bulk_items IS
    'Settles the items that were taken: by their attempts, and in a dry run by the statuses that were found. Frees the bulk deletion after a pause.';
