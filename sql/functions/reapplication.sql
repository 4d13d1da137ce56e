-- Reapplication: does again, after a restore from an older backup, what a later export of the trail says was done.
--
-- Called by `customerd reapply`, as the owner: first note_ends, so that no worker deletes anew what a schedule or a bulk
-- deletion came to; then reapply, once for each entry that the database doesn't know. The change and its entry are one
-- transaction, as those of other commands are. What is done for which action, and its locks: reapplied_actions.sql.

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
    CASE p_original ->> 'action'
        WHEN 'key.revoke', 'key.rotate' THEN
            SELECT * INTO result, message FROM service.reapply_key(p_app_id, p_original, p_dry_run);
        WHEN 'customer.delete' THEN
            SELECT * INTO result, message FROM service.reapply_deletion(p_app_id, p_original, p_dry_run);
        WHEN 'customer.redact' THEN
            SELECT * INTO result, message FROM service.reapply_redaction(p_app_id, p_original, p_dry_run);
        WHEN 'hold.place', 'hold.release' THEN
            SELECT * INTO result, message FROM service.reapply_hold(p_app_id, p_original, p_dry_run);
        WHEN 'deletion.schedule', 'deletion.cancel' THEN
            SELECT * INTO result, message FROM service.reapply_schedule(p_app_id, p_original, p_dry_run);
        WHEN 'deletion.bulk-cancel' THEN
            SELECT * INTO result, message FROM service.reapply_bulk_cancel(p_app_id, p_original, p_dry_run);
        ELSE
            RAISE EXCEPTION 'nothing is done again for %', p_original ->> 'action';
    END CASE;
END
$$;
COMMENT ON FUNCTION service.reapply IS
    'Does again what an entry of an export says was done, if the database has forgotten it: deleted, redacted, revoked (a key whose secret was rotated too), held (a hold placed or released), scheduled, cancelled (a scheduled or a bulk deletion), unchanged, or failed with the reason (reapplied_actions.sql). Repeating it changes nothing.';
