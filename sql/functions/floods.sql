-- Floods: failed and rate-limited attempts that are too many to get an entry each are counted, and folded into one.
--
-- Called by authorization (count_stranger), and every second by instances that have answered some from memory
-- (fold_answered). Locks rows of service.floods.

CREATE OR REPLACE FUNCTION service.flood_entry(p_entry jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_entry - '{customer_id,idempotency_key,reason,actor_claimed,request_id}'::text[];
COMMENT ON FUNCTION service.flood_entry(jsonb) IS
    'What a folded entry tells of the last attempt that it stands for: nothing that is of this one alone.';

CREATE OR REPLACE FUNCTION service.count_stranger(p_address text, p_entry jsonb, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_strangers   CONSTANT uuid        := '00000000-0000-0000-0000-000000000000';
    c_per_address CONSTANT int         := 20;
    c_altogether  CONSTANT int         := 600;
    v_opened_at   CONSTANT timestamptz := date_trunc('minute', p_now);
    v_limit       int;
    v_subject     text;
    v_counted     bigint;
BEGIN
    -- An address that had its number isn't counted among all. Else all addresses come first, since they are easily
    -- changed: once those together had theirs, no further address gets a row.
    FOR v_subject, v_limit IN
        SELECT s.subject, s.most
        FROM (VALUES (1, 'all addresses', c_altogether), (2, p_address, c_per_address)) AS s (position, subject, most)
        WHERE s.position = 2 OR NOT EXISTS (
            SELECT
            FROM service.floods AS f
            WHERE f.app_id = c_strangers AND f.kind = 'UNAUTHENTICATED' AND f.subject = p_address
              AND f.opened_at = v_opened_at AND f.counted >= c_per_address)
        ORDER BY s.position
    LOOP
        INSERT INTO service.floods AS f
            (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
        VALUES (c_strangers, 'UNAUTHENTICATED', v_subject, v_opened_at, v_opened_at + interval '1 minute', 1, 0,
                service.flood_entry(p_entry))
        ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
            SET counted = f.counted + 1,
                folded = f.folded + (f.counted >= v_limit)::int,
                entry = CASE WHEN f.counted >= v_limit THEN excluded.entry ELSE f.entry END
        RETURNING f.counted INTO v_counted;
        IF v_counted > v_limit THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION service.count_stranger IS
    'Counts a failed authentication. True if it gets an audit entry of its own; false if it was folded, because its address or all addresses together have had their number this minute.';

CREATE OR REPLACE FUNCTION service.fold_answered(p_folded jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO service.floods AS f
        (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
    SELECT i.app_id, k.kind, i.subject, w.opened_at, w.closes_at, sum(i.count), sum(i.count),
           (array_agg(service.flood_entry(i.entry) || jsonb_build_object('occurred_at', i.at) ORDER BY i.at DESC))[1]
    FROM (SELECT coalesce(j.app_id, '00000000-0000-0000-0000-000000000000') AS app_id, j.app_id IS NULL AS is_strange,
                 j.subject, j.at, j.count, j.entry
          FROM jsonb_to_recordset(p_folded)
              AS j (app_id uuid, subject text, at timestamptz, count bigint, entry jsonb)) AS i
    CROSS JOIN LATERAL (SELECT CASE WHEN i.is_strange THEN 'UNAUTHENTICATED' ELSE 'RATE_LIMITED' END AS kind) AS k
    -- The flood that the attempt belongs to. Where recovery has folded that already, one that has just begun and ended.
    LEFT JOIN LATERAL (
        SELECT o.opened_at, o.closes_at
        FROM service.floods AS o
        WHERE o.app_id = i.app_id AND o.kind = k.kind AND o.subject = i.subject AND o.closes_at > i.at
        ORDER BY o.opened_at
        LIMIT 1) AS known ON NOT i.is_strange
    CROSS JOIN LATERAL (
        SELECT CASE WHEN i.is_strange THEN date_trunc('minute', i.at) ELSE coalesce(known.opened_at, i.at) END,
               CASE WHEN i.is_strange THEN date_trunc('minute', i.at) + interval '1 minute'
                    ELSE coalesce(known.closes_at, i.at) END) AS w (opened_at, closes_at)
    GROUP BY i.app_id, k.kind, i.subject, w.opened_at, w.closes_at
    ORDER BY i.app_id, k.kind, i.subject, w.opened_at
    ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
        SET counted = f.counted + excluded.counted, folded = f.folded + excluded.folded, entry = excluded.entry
$$;
COMMENT ON FUNCTION service.fold_answered IS
    'Adds attempts that an instance answered without the database, since those of their address or key were being folded. Takes an array of {"app_id", "subject", "at", "count", "entry"}: an address without app_id, or a key with its app.';
