-- The rows that a deletion reaches, counted by the keys that lead to customers, as far as they may be read
-- (readable_tables.sql).
--
-- Called by DeleteCustomer before the DELETE (cascading), and by deletion-check (reached_rows). Takes no locks.

CREATE OR REPLACE FUNCTION service.reached_rows(
    p_app_id uuid, p_customer_id uuid,
    OUT table_name text, OUT constraint_name text, OUT action text, OUT count bigint)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
#variable_conflict use_variable
DECLARE
    v_edges    jsonb;
    v_branches text;
    v_counts   jsonb;
BEGIN
    SELECT jsonb_agg(to_jsonb(e)) INTO v_edges
    FROM (SELECT c.source, c.key, c.event, c.effect, c.action, c.changed, k.confkey, j.tables
          FROM service.key_closure() AS c
          JOIN pg_constraint AS k ON k.oid = c.key
          CROSS JOIN LATERAL (
              SELECT service.readable_table(k.confrelid) || ' AS p JOIN ' || service.readable_table(k.conrelid)
                     || ' AS r ON ' || service.key_condition(k.oid) AS tables) AS j
          WHERE c.effect <> 'CHECK') AS e;

    SELECT string_agg(
               format(
                   'SELECT %s::oid, %L, %L::int2[], r.tableoid, r.ctid FROM %s
                    WHERE g.effect = %L AND p.tableoid = g.table_id AND p.ctid = g.row_id%s',
                   e.key, e.effect, e.changed, e.tables, e.event,
                   CASE e.event WHEN 'UPDATE' THEN format(' AND g.changed && %L::int2[]', e.confkey) END),
               ' UNION ALL ')
    INTO v_branches
    FROM (SELECT DISTINCT x.key, x.event, x.effect, x.changed, x.confkey, x.tables
          FROM jsonb_to_recordset(v_edges)
              AS x (key oid, event text, effect text, changed int2[], confkey int2[], tables text)
          WHERE x.tables IS NOT NULL) AS e;

    -- A row goes once: it counts for the first key that deletes it, and what is done to it besides doesn't count.
    IF v_branches IS NOT NULL THEN
        EXECUTE format(
            'WITH RECURSIVE reached (key, effect, changed, table_id, row_id) AS (
                 SELECT 0::oid, ''DELETE'', NULL::int2[], c.tableoid, c.ctid
                 FROM public.customers AS c
                 WHERE c.app_id = $1 AND c.id = $2
                 UNION
                 SELECT next.*
                 FROM reached AS g
                 CROSS JOIN LATERAL (%s) AS next),
             gone AS (
                 SELECT r.table_id, r.row_id, min(r.key) AS key
                 FROM reached AS r
                 WHERE r.effect = ''DELETE''
                 GROUP BY r.table_id, r.row_id)
             SELECT coalesce(jsonb_object_agg(counted.key, counted.rows), ''{}'')
             FROM (SELECT n.key, count(*) AS rows
                   FROM (SELECT g.key
                         FROM gone AS g
                         UNION ALL
                         SELECT o.key
                         FROM (SELECT DISTINCT r.key, r.table_id, r.row_id
                               FROM reached AS r
                               WHERE r.effect <> ''DELETE'') AS o
                         LEFT JOIN gone AS g ON (g.table_id, g.row_id) = (o.table_id, o.row_id)
                         WHERE g.key IS NULL) AS n
                   GROUP BY n.key) AS counted', v_branches)
        INTO v_counts
        USING p_app_id, p_customer_id;
    END IF;

    RETURN QUERY
    WITH RECURSIVE edges AS MATERIALIZED (
        SELECT x.source, x.key, x.action, x.tables
        FROM jsonb_to_recordset(v_edges) AS x (source oid, key oid, action text, tables text)),
    -- What can't be counted and may have rows: the table itself, or one before it, is closed to us.
    unknown AS (
        SELECT e.key
        FROM edges AS e
        WHERE e.tables IS NULL AND (e.source = 0 OR v_counts ? e.source::text)
        UNION
        SELECT e.key
        FROM unknown AS u
        JOIN edges AS e ON e.source = u.key)
    SELECT CASE n.nspname WHEN 'public' THEN t.relname::text ELSE n.nspname || '.' || t.relname END,
           k.conname::text,
           r.action,
           CASE WHEN NOT r.is_unknown THEN (v_counts ->> r.key::text)::bigint END
    FROM (SELECT e.key, max(e.action) AS action, e.key IN (SELECT u.key FROM unknown AS u) AS is_unknown
          FROM edges AS e
          GROUP BY e.key) AS r
    JOIN pg_constraint AS k ON k.oid = r.key
    JOIN pg_class AS t ON t.oid = k.conrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE r.is_unknown OR v_counts ? r.key::text
    ORDER BY n.nspname <> 'public', n.nspname, t.relname, k.conname;
END
$$;
COMMENT ON FUNCTION service.reached_rows IS
    'The foreign keys through which a deletion of this customer would reach rows, and how many. No action: the key refuses. count NULL: the rows can''t be counted.';

CREATE OR REPLACE FUNCTION service.cascading(p_app_id uuid, p_customer_id uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT service.has_acting_keys() THEN
        RETURN NULL;
    END IF;
    PERFORM service.refuse_foreign_code();
    RETURN (
        SELECT jsonb_build_object('cascaded', jsonb_agg(jsonb_build_object(
                   'table', r.table_name, 'constraint', r.constraint_name, 'count', r.count, 'action', r.action)))
        FROM service.reached_rows(p_app_id, p_customer_id) AS r
        WHERE r.action IS NOT NULL
        HAVING count(*) > 0);
END
$$;
COMMENT ON FUNCTION service.cascading IS
    'What a deletion of this customer is about to take along, for the request of its entry. NULL if nothing. Under the customer''s lock nothing can be added that refers to it; what refers to such a row in turn can, until the DELETE.';
