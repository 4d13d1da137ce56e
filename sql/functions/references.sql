-- References: which foreign keys lead to customers, and what a violation of one means.
--
-- Called by DeleteCustomer after a violation (refusal), and by the functions of reached.sql and deletion_check.sql.
-- Everything is read from the catalog, so a table that is added later needs no change here. Takes no locks.

CREATE OR REPLACE FUNCTION service.key_closure(
    OUT source oid, OUT key oid, OUT event text, OUT effect text, OUT action text, OUT relation oid, OUT changed int2[])
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH RECURSIVE keys AS MATERIALIZED (
        SELECT k.oid, k.conkey, k.confkey, k.confdeltype, k.confupdtype,
               coalesce(pg_partition_root(k.conrelid), k.conrelid) AS referencing,
               coalesce(pg_partition_root(k.confrelid), k.confrelid) AS referenced,
               -- Version 15 knows keys that set some of their columns only, version 18 keys that aren't enforced.
               coalesce((SELECT array_agg(c.value::int2)
                         FROM jsonb_array_elements_text(nullif(r.further -> 'confdelsetcols', 'null')) AS c),
                        k.conkey) AS set_columns
        FROM pg_constraint AS k
        CROSS JOIN LATERAL (SELECT to_jsonb(k) AS further) AS r
        WHERE k.contype = 'f'
          AND k.conparentid = 0
          AND (r.further ->> 'conenforced')::boolean IS NOT false),
    closure (source, key, event, effect, action, relation, changed) AS (
        SELECT NULL::oid, 0::oid, NULL, 'DELETE', NULL, 'public.customers'::regclass::oid, NULL::int2[]
        UNION
        SELECT s.key,
               k.oid,
               s.effect,
               next.effect,
               CASE next.action WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'd' THEN 'SET DEFAULT' END,
               k.referencing,
               CASE WHEN next.effect = 'UPDATE'
                    THEN CASE s.effect WHEN 'DELETE' THEN k.set_columns ELSE k.conkey END END
        FROM closure AS s
        CROSS JOIN (VALUES (false), (true)) AS side (is_own)
        JOIN keys AS k
          ON CASE WHEN side.is_own THEN s.effect = 'UPDATE' AND k.referencing = s.relation AND k.conkey && s.changed
                  ELSE k.referenced = s.relation
                       AND (s.effect = 'DELETE' OR s.effect = 'UPDATE' AND k.confkey && s.changed) END
        CROSS JOIN LATERAL (
            SELECT CASE WHEN side.is_own THEN 'k' WHEN s.effect = 'DELETE' THEN k.confdeltype
                        ELSE k.confupdtype END) AS how (action)
        CROSS JOIN LATERAL (
            SELECT how.action,
                   CASE WHEN how.action = 'k' THEN 'CHECK'
                        WHEN how.action IN ('a', 'r') THEN 'REFUSE'
                        WHEN how.action = 'c' THEN s.effect
                        ELSE 'UPDATE' END AS effect) AS next)
    SELECT c.source, c.key, c.event, c.effect, c.action, c.relation, c.changed
    FROM closure AS c
    WHERE c.key <> 0;
END
$$;
COMMENT ON FUNCTION service.key_closure IS
    'All foreign keys that a deletion of a customer can reach, through keys that act, however far. source: the key behind which it stands, 0 for customers. event: what happens to the row that it refers to. effect: what happens to the referring row, with UPDATE in the columns changed; REFUSE: nothing, the event is refused while it is there; CHECK: a key of an updated row itself. A partitioned table stands for its partitions.';

CREATE OR REPLACE FUNCTION service.has_acting_keys() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (
        SELECT
        FROM pg_trigger AS t
        WHERE t.tgrelid = 'public.customers'::regclass
          AND t.tgfoid IN ('"RI_FKey_cascade_del"'::regproc, '"RI_FKey_setnull_del"'::regproc,
                           '"RI_FKey_setdefault_del"'::regproc));
END
$$;
COMMENT ON FUNCTION service.has_acting_keys IS
    'Whether any foreign key on customers acts. By its trigger, which an index finds; pg_constraint has none for this.';

CREATE OR REPLACE FUNCTION service.refusal(
    p_sqlstate text, p_schema text, p_table text, p_column text, p_constraint text,
    OUT referencing_table text, OUT constraint_name text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_table oid;
    v_key   oid;
BEGIN
    SELECT t.oid INTO v_table
    FROM pg_class AS t
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE n.nspname = p_schema AND t.relname = p_table;
    IF p_sqlstate IN ('23503', '23001') THEN
        -- The key may have been reported by the name that it has on a partition.
        WITH RECURSIVE reported AS (
            SELECT k.oid, k.conparentid, k.confrelid
            FROM pg_constraint AS k
            WHERE k.conrelid = v_table AND k.conname = p_constraint AND k.contype = 'f'
            UNION ALL
            SELECT k.oid, k.conparentid, k.confrelid
            FROM reported AS r
            JOIN pg_constraint AS k ON k.oid = r.conparentid)
        SELECT r.oid INTO v_key
        FROM reported AS r
        WHERE r.conparentid = 0
          -- Most are keys on customers themselves, which needs no closure.
          AND CASE WHEN r.confrelid = 'public.customers'::regclass THEN true
                   ELSE service.has_acting_keys() AND r.oid IN (SELECT c.key FROM service.key_closure() AS c) END;
    ELSIF NOT service.has_acting_keys() THEN
        RETURN;
    ELSIF p_sqlstate = '23502' OR p_sqlstate = '23514' AND coalesce(p_constraint, '') = '' THEN
        -- The first key that would have put the NULL there, or into what a generated column is made of; or a row for which
        -- its partitioned table has no partition.
        SELECT c.key INTO v_key
        FROM service.key_closure() AS c
        JOIN pg_constraint AS k ON k.oid = c.key
        LEFT JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attname = p_column
        WHERE c.effect = 'UPDATE' AND c.relation = coalesce(pg_partition_root(v_table), v_table)
          AND (p_sqlstate = '23514' OR a.attnum = ANY (c.changed) OR a.attgenerated <> '')
        ORDER BY k.conname
        LIMIT 1;
    ELSIF EXISTS (
        SELECT
        FROM service.key_closure() AS c
        WHERE c.effect = 'UPDATE' AND c.relation = coalesce(pg_partition_root(v_table), v_table))
       AND (EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = v_table AND k.conname = p_constraint)
            OR EXISTS (SELECT
                       FROM pg_index AS i
                       JOIN pg_class AS t ON t.oid = i.indexrelid
                       WHERE i.indrelid = v_table AND t.relname = p_constraint)) THEN
        -- A check or a unique key that the row would break once a key has acted on it.
        referencing_table := CASE p_schema WHEN 'public' THEN p_table ELSE p_schema || '.' || p_table END;
        constraint_name := p_constraint;
        RETURN;
    END IF;
    SELECT CASE n.nspname WHEN 'public' THEN t.relname::text ELSE n.nspname || '.' || t.relname END, k.conname
    INTO referencing_table, constraint_name
    FROM pg_constraint AS k
    JOIN pg_class AS t ON t.oid = k.conrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE k.oid = v_key;
END
$$;
COMMENT ON FUNCTION service.refusal IS
    'The constraint that refused a deletion, and its table, from what the failed DELETE or COMMIT reported. NULLs if the violation is no refusal: a key of another table, or a trigger.';
