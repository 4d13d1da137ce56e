-- The items of large bulk deletions, taken at a rate that requests don't feel.
--
-- An item points to the attempt that deletes it, as a schedule does (due_deletions.sql): a further attempt is opened
-- only when the one before certainly had no effect. So no item is repeated, whatever dies when.
--
-- Called by the BulkRunner of every instance. Locks, in this order: the bulk deletion, its items.

CREATE OR REPLACE FUNCTION service.count_bulk_items(p_app_id uuid, p_bulk_id uuid, p_outcomes service.outcome[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE service.bulk_deletions AS b
    SET deleted = b.deleted + c.deleted, refused = b.refused + c.refused, not_found = b.not_found + c.not_found,
        failed = b.failed + c.failed
    FROM (SELECT count(*) FILTER (WHERE o.outcome = 'SUCCEEDED') AS deleted,
                 count(*) FILTER (WHERE o.outcome = 'REFUSED') AS refused,
                 count(*) FILTER (WHERE o.outcome = 'NOT_FOUND') AS not_found,
                 count(*) FILTER (WHERE o.outcome NOT IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND')) AS failed
          FROM unnest(p_outcomes) AS o (outcome)) AS c
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id AND cardinality(p_outcomes) > 0
$$;
COMMENT ON FUNCTION service.count_bulk_items IS
    'Counts items that have come to an end, in the transaction in which they do: to tell how far a bulk deletion has come, no item is read.';

CREATE OR REPLACE FUNCTION service.conclude_bulk_items(p_app_id uuid, p_bulk_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_came     record;
    v_is_final boolean;
    v_outcomes service.outcome[] := '{}';
BEGIN
    -- One by one: joined with all items, some of them are quadratic while the table has no statistics.
    FOR v_came IN
        SELECT i."position", c.outcome, c.status_code
        FROM service.bulk_items AS i
        CROSS JOIN LATERAL service.deletion_outcome(i.app_id, i.attempt_id) AS c
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i.outcome IS NULL AND i.attempt_id IS NOT NULL
          AND NOT c.is_running
    LOOP
        -- Any other failure may have been the database's: to be done again.
        v_is_final := coalesce(
            v_came.outcome IN ('SUCCEEDED', 'REFUSED', 'NOT_FOUND', 'FORBIDDEN')
                OR v_came.status_code = service.status_code('FAILED'), false);
        UPDATE service.bulk_items AS i
        SET outcome = CASE WHEN v_is_final THEN v_came.outcome END,
            attempt_id = CASE WHEN v_is_final THEN i.attempt_id END
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i."position" = v_came."position";
        IF v_is_final THEN
            v_outcomes := v_outcomes || v_came.outcome;
        END IF;
    END LOOP;
    PERFORM service.count_bulk_items(p_app_id, p_bulk_id, v_outcomes);
END
$$;
COMMENT ON FUNCTION service.conclude_bulk_items IS
    'Brings items to the ends that their attempts have come to; those whose attempt certainly had no effect are to be done again.';

CREATE OR REPLACE FUNCTION service.bulk_apps() RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT b.app_id
    FROM service.bulk_deletions AS b
    WHERE NOT b.is_over
      AND (b.try_after <= clock_timestamp() OR b.try_after > clock_timestamp() + interval '2 minutes')
    GROUP BY b.app_id
    ORDER BY min(b.try_after)
$$;
COMMENT ON FUNCTION service.bulk_apps IS 'The apps that have bulk deletions to be worked on, the one that has waited longest first.';

CREATE OR REPLACE FUNCTION service.bulk_lag(OUT bulks bigint, OUT seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*), coalesce(greatest(extract(epoch FROM clock_timestamp() - min(b.try_after)), 0), 0)
    FROM service.bulk_deletions AS b
    WHERE NOT b.is_over
$$;
COMMENT ON FUNCTION service.bulk_lag IS
    'How many bulk deletions aren''t over, and for how many seconds the one that has waited longest has waited for an instance.';

CREATE OR REPLACE FUNCTION service.settle_bulk(p_app_id uuid, p_bulk_id uuid, p_pause interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (
        SELECT
        FROM service.bulk_items AS i
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i.outcome IS NULL AND i.attempt_id IS NOT NULL) THEN
        -- An attempt of a dead instance, which recovery ends; or one that couldn't be done now.
        UPDATE service.bulk_deletions AS b
        SET try_after = clock_timestamp() + greatest(p_pause, interval '1 s')
        WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id;
    ELSIF EXISTS (
        SELECT
        FROM service.bulk_items AS i
        JOIN service.bulk_deletions AS b ON b.app_id = i.app_id AND b.bulk_id = i.bulk_id
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i.outcome IS NULL AND b.status = 'RUNNING') THEN
        UPDATE service.bulk_deletions AS b
        SET try_after = clock_timestamp() + p_pause
        WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id;
    ELSE
        UPDATE service.bulk_deletions AS b
        SET status = CASE b.status WHEN 'RUNNING' THEN 'DONE' ELSE b.status END, is_over = true, reason = NULL
        WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id;
    END IF;
END
$$;
COMMENT ON FUNCTION service.settle_bulk IS
    'Frees a bulk deletion after a pause while it has items left; else it is done, or its cancellation has taken effect.';

CREATE OR REPLACE FUNCTION service.take_bulk_items(p_app_id uuid, p_lease interval, p_ttl interval, p_limit int)
RETURNS SETOF service.due_item
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_now       timestamptz;
    v_bulk      service.bulk_deletions;
    v_item      service.bulk_items;
    v_due       service.due_deletion;
    v_actor     text;
    v_taken     int := 0;
    v_forbidden int := 0;
    v_ended     service.outcome[];
BEGIN
    DELETE FROM service.bulk_deletions AS b
    WHERE b.app_id = p_app_id AND b.bulk_id = ANY (ARRAY(
        SELECT o.bulk_id
        FROM service.bulk_deletions AS o
        WHERE o.app_id = p_app_id AND o.is_over AND o.created_at < clock_timestamp() - interval '30 days'
        LIMIT 1
        FOR UPDATE SKIP LOCKED));

    -- On to the next one when there is nothing to run. Without the right to delete, items end here: as many as in a second.
    WHILE v_forbidden < 4 * p_limit LOOP
        v_now := clock_timestamp();
        v_ended := '{}';
        SELECT * INTO v_bulk
        FROM service.bulk_deletions AS b
        WHERE b.app_id = p_app_id AND NOT b.is_over
          -- What waits longer than a lease lasts began to do so before the clock stepped back.
          AND (b.try_after <= v_now OR b.try_after > v_now + interval '2 minutes')
        ORDER BY b.try_after
        LIMIT 1
        FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        PERFORM service.conclude_bulk_items(v_bulk.app_id, v_bulk.bulk_id);
        v_actor := service.claimed_actor(v_bulk.app_id, v_bulk.bulk_id);
        FOR v_item IN
            SELECT *
            FROM service.bulk_items AS i
            WHERE i.app_id = v_bulk.app_id AND i.bulk_id = v_bulk.bulk_id AND v_bulk.status = 'RUNNING'
              AND i.outcome IS NULL AND i.attempt_id IS NULL
            ORDER BY i."position"
            LIMIT p_limit
        LOOP
            v_due := NULL;
            IF NOT v_bulk.dry_run THEN
                v_due := service.open_deletion(
                    v_bulk.app_id, v_item.customer_id, v_bulk.key_id, v_actor, v_bulk.reason,
                    jsonb_build_object('bulk', v_bulk.bulk_id), p_lease, p_ttl);
                UPDATE service.bulk_items AS i
                SET attempt_id = v_due.attempt_id,
                    outcome = CASE WHEN v_due.fence IS NULL THEN 'FORBIDDEN' END::service.outcome
                WHERE i.app_id = v_bulk.app_id AND i.bulk_id = v_bulk.bulk_id AND i."position" = v_item."position";
                IF v_due.fence IS NULL THEN
                    v_ended := v_ended || 'FORBIDDEN'::service.outcome;
                    CONTINUE;
                END IF;
            END IF;
            v_taken := v_taken + 1;
            RETURN NEXT ROW(
                v_bulk.app_id, v_bulk.bulk_id, v_item."position", v_item.customer_id, v_due.attempt_id,
                v_due.fence)::service.due_item;
        END LOOP;
        PERFORM service.count_bulk_items(v_bulk.app_id, v_bulk.bulk_id, v_ended);
        v_forbidden := v_forbidden + cardinality(v_ended);
        IF v_taken > 0 THEN
            UPDATE service.bulk_deletions AS b
            SET try_after = v_now + p_lease
            WHERE b.app_id = v_bulk.app_id AND b.bulk_id = v_bulk.bulk_id;
            RETURN;
        END IF;
        PERFORM service.settle_bulk(v_bulk.app_id, v_bulk.bulk_id, '0 s');
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.take_bulk_items IS
    'Takes the next items of the bulk deletion of an app that has waited longest, under a lease, with an attempt each. One without items left is done. Any number of instances.';

CREATE OR REPLACE FUNCTION service.end_bulk_items(
    p_app_id uuid, p_bulk_id uuid, p_positions int[], p_outcomes service.outcome[], p_pause interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_outcomes service.outcome[];
BEGIN
    PERFORM
    FROM service.bulk_deletions AS b
    WHERE b.app_id = p_app_id AND b.bulk_id = p_bulk_id
    FOR UPDATE;
    WITH ended AS (
        UPDATE service.bulk_items AS i
        SET outcome = c.outcome
        FROM unnest(p_positions, p_outcomes) AS c ("position", outcome)
        WHERE i.app_id = p_app_id AND i.bulk_id = p_bulk_id AND i."position" = c."position"
          AND i.outcome IS NULL AND i.attempt_id IS NULL
        RETURNING i.outcome)
    SELECT array_agg(e.outcome) INTO v_outcomes FROM ended AS e;
    PERFORM service.count_bulk_items(p_app_id, p_bulk_id, v_outcomes);
    PERFORM service.conclude_bulk_items(p_app_id, p_bulk_id);
    PERFORM service.settle_bulk(p_app_id, p_bulk_id, p_pause);
END
$$;
COMMENT ON FUNCTION service.end_bulk_items IS
    'Ends the items that were taken: by their attempts, and in a dry run by the outcomes that were found. Frees the bulk deletion after a pause.';
