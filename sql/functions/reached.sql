-- The rows that a deletion reaches: counted and read by the keys that lead to customers.
--
-- Called by DeleteCustomer before the DELETE (cascading), by deletion-check (reached_rows), and by the export
-- (referring_tables, referring_rows). Takes no locks.
--
-- Rows are counted and read with the rights of the owner. A table that it can't read, or that has row-level security,
-- isn't; nor is one whose reading would run another role's code with these rights: by the operators of its key, or by the
-- functions in its indexes and constraints, which the planner calls.

CREATE OR REPLACE FUNCTION service.runs_foreign_code(p_table oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- An IMMUTABLE function in the predicate of an index, in a CHECK, a partition's bounds, a generated column or extended
    -- statistics is called while a query is planned, with the rights of the role that runs the query. All of them depend on it in
    -- pg_depend, except on what PostgreSQL brings. Functions of extensions are trusted, as are those of the table's owner
    -- if that role can act as the current one anyway.
    RETURN EXISTS (
        WITH RECURSIVE tables (oid) AS (
            SELECT p_table
            UNION
            SELECT i.inhrelid
            FROM tables AS t
            JOIN pg_inherits AS i ON i.inhparent = t.oid),
        parts (class, id) AS (
            SELECT 'pg_class'::regclass::oid, t.oid FROM tables AS t
            UNION ALL
            SELECT 'pg_class'::regclass::oid, i.indexrelid FROM tables AS t JOIN pg_index AS i ON i.indrelid = t.oid
            UNION ALL
            SELECT 'pg_constraint'::regclass::oid, k.oid FROM tables AS t JOIN pg_constraint AS k ON k.conrelid = t.oid
            UNION ALL
            SELECT 'pg_attrdef'::regclass::oid, d.oid
            FROM tables AS t
            JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attgenerated <> ''
            JOIN pg_attrdef AS d ON d.adrelid = t.oid AND d.adnum = a.attnum
            UNION ALL
            SELECT 'pg_statistic_ext'::regclass::oid, s.oid FROM tables AS t JOIN pg_statistic_ext AS s ON s.stxrelid = t.oid),
        called (id) AS (
            SELECT coalesce(o.oprcode::oid, d.refobjid)
            FROM parts AS x
            JOIN pg_depend AS d ON d.classid = x.class AND d.objid = x.id
            LEFT JOIN pg_operator AS o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid
            WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass))
        SELECT
        FROM called AS c
        JOIN pg_proc AS f ON f.oid = c.id
        WHERE f.oid >= 16384
          AND NOT EXISTS (
              SELECT
              FROM pg_depend AS e
              WHERE e.classid = 'pg_proc'::regclass AND e.objid = f.oid AND e.deptype = 'e')
          AND NOT (pg_has_role(f.proowner, current_user, 'MEMBER')
                   AND pg_has_role((SELECT t.relowner FROM pg_class AS t WHERE t.oid = p_table), current_user, 'MEMBER')));
END
$$;
COMMENT ON FUNCTION service.runs_foreign_code IS
    'Whether reading a table could run functions, with the rights of the current role, of a role that couldn''t run them so by itself.';

CREATE OR REPLACE FUNCTION service.readable_table(p_table oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
    -- Rows of tables that inherit aren't the table's own: keys don't reach them. Those of partitions are.
    RETURN (
        SELECT format('%s%I.%I', CASE t.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END, n.nspname, t.relname)
        FROM pg_class AS t
        JOIN pg_namespace AS n ON n.oid = t.relnamespace
        WHERE t.oid = p_table
          AND has_schema_privilege(n.oid, 'USAGE')
          AND has_table_privilege(t.oid, 'SELECT')
          AND NOT row_security_active(t.oid)
          AND NOT service.runs_foreign_code(t.oid));
END
$$;
COMMENT ON FUNCTION service.readable_table IS
    'A table as FROM names it, if the current role sees all of its rows and runs no code of others by that; otherwise NULL.';

CREATE OR REPLACE FUNCTION service.key_condition(p_key oid) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT CASE WHEN bool_and(s.nspname = 'pg_catalog') THEN
                   string_agg(format('p.%I OPERATOR(pg_catalog.%s) r.%I', theirs.attname, o.oprname, ours.attname),
                              ' AND ' ORDER BY pair.position) END
        FROM pg_constraint AS k
        CROSS JOIN LATERAL unnest(k.confkey, k.conkey, k.conpfeqop)
            WITH ORDINALITY AS pair (referenced, referencing, operator, position)
        JOIN pg_attribute AS theirs ON theirs.attrelid = k.confrelid AND theirs.attnum = pair.referenced
        JOIN pg_attribute AS ours ON ours.attrelid = k.conrelid AND ours.attnum = pair.referencing
        JOIN pg_operator AS o ON o.oid = pair.operator
        JOIN pg_namespace AS s ON s.oid = o.oprnamespace
        WHERE k.oid = p_key);
END
$$;
COMMENT ON FUNCTION service.key_condition IS
    'When a row r refers to a row p by this foreign key. NULL if the key compares by operators that PostgreSQL doesn''t bring.';

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
                         FROM (SELECT DISTINCT r.key, r.table_id, r.row_id FROM reached AS r WHERE r.effect <> ''DELETE'') AS o
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

CREATE OR REPLACE FUNCTION service.referring_tables(
    OUT key oid, OUT table_name text, OUT constraint_name text, OUT is_readable boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
BEGIN
    RETURN QUERY
    SELECT k.oid,
           CASE n.nspname WHEN 'public' THEN t.relname::text ELSE n.nspname || '.' || t.relname END,
           k.conname::text,
           service.readable_table(k.conrelid) IS NOT NULL AND service.readable_table(k.confrelid) IS NOT NULL
           AND service.key_condition(k.oid) IS NOT NULL
    FROM pg_constraint AS k
    JOIN pg_class AS t ON t.oid = k.conrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE k.contype = 'f'
      AND k.confrelid = 'public.customers'::regclass
      AND k.conparentid = 0
      -- Other customers are other persons.
      AND k.conrelid <> k.confrelid
      -- What has a list of its own in the API.
      AND NOT (k.conrelid IN ('public.invoices'::regclass, 'public.payment_links'::regclass,
                              'public.transactions'::regclass, 'public.liquidation_addresses'::regclass)
               AND ARRAY(SELECT a.attname::text
                         FROM pg_attribute AS a
                         WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
                         ORDER BY a.attname) = '{app_id,customer_id}')
    ORDER BY n.nspname <> 'public', n.nspname, t.relname, k.conname;
END
$$;
COMMENT ON FUNCTION service.referring_tables IS
    'The tables that refer to customers besides those of the API, one row a foreign key. From the catalog, so a table added later is among them.';

CREATE OR REPLACE FUNCTION service.referring_rows(
    p_app_id uuid, p_customer_id uuid, p_key oid, p_after jsonb, p_rows int, p_bytes bigint,
    OUT records text, OUT last jsonb)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
    v_key     pg_constraint;
    v_table   text;
    v_columns text;
    v_order   text;
    v_last    text;
    v_after   text;
BEGIN
    SELECT * INTO v_key
    FROM pg_constraint AS k
    WHERE k.oid = p_key AND k.contype = 'f' AND k.confrelid = 'public.customers'::regclass;
    v_table := service.readable_table(v_key.conrelid);

    -- No cast of a type's owner is called with our rights: what isn't PostgreSQL's own goes as its text.
    SELECT string_agg(
               CASE WHEN a.atttypid < 16384 THEN format('r.%I', a.attname)
                    WHEN t.typtype = 'd' AND t.typbasetype < 16384 THEN
                        format('r.%I::%s AS %1$I', a.attname, format_type(t.typbasetype, t.typtypmod))
                    ELSE format('CASE WHEN r.%I IS NOT NULL THEN format(''%%s'', r.%1$I) END AS %1$I', a.attname) END,
               ', ' ORDER BY a.attnum)
    INTO v_columns
    FROM pg_attribute AS a
    JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = v_key.conrelid AND a.attnum > 0 AND NOT a.attisdropped;

    -- In the order of the primary key, in which a row keeps its place.
    SELECT string_agg(format('r.%I', a.attname), ', ' ORDER BY c.position),
           string_agg(format('r.%I::text', a.attname), ', ' ORDER BY c.position),
           string_agg(format('($3 ->> %s)::%s', c.position - 1, format_type(a.atttypid, a.atttypmod)),
                      ', ' ORDER BY c.position)
    INTO v_order, v_last, v_after
    FROM pg_index AS i
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS c (attnum, position)
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = c.attnum
    WHERE i.indrelid = v_key.conrelid AND i.indisprimary AND c.position <= i.indnkeyatts
    HAVING bool_and(a.atttypid < 16384);
    IF v_order IS NULL THEN
        v_order := 'r.tableoid, r.ctid';
        v_last := 'r.tableoid::text, r.ctid::text';
        v_after := '($3 ->> 0)::oid, ($3 ->> 1)::tid';
    END IF;

    EXECUTE format(
        'WITH page AS MATERIALIZED (
             SELECT (SELECT row_to_json(x.*)::text FROM (SELECT %1$s) AS x) AS record,
                    jsonb_build_array(%2$s) AS last,
                    row_number() OVER (ORDER BY %3$s) AS position
             FROM %4$s AS p
             JOIN %5$s AS r ON %6$s
             WHERE p.app_id = $1 AND p.id = $2 %7$s
             ORDER BY %3$s
             LIMIT $4),
         taken AS (
             SELECT s.record, s.last, s.position
             FROM (SELECT *, sum(octet_length(record)) OVER (ORDER BY position) AS bytes FROM page) AS s
             WHERE s.bytes - octet_length(s.record) < $5)
         SELECT string_agg(t.record, '','' ORDER BY t.position),
                -- The last page is one that isn''t full.
                CASE WHEN count(*) = $4 OR count(*) < (SELECT count(*) FROM page)
                     THEN (array_agg(t.last ORDER BY t.position DESC))[1] END
         FROM taken AS t',
        v_columns, v_last, v_order,
        -- The ids are the key, so the customer itself may be gone.
        CASE WHEN EXISTS (SELECT
                          FROM pg_attribute AS a
                          WHERE a.attrelid = v_key.confrelid AND a.attnum = ANY (v_key.confkey)
                            AND a.attname NOT IN ('app_id', 'id'))
             THEN service.readable_table(v_key.confrelid)
             ELSE '(SELECT $1 AS app_id, $2 AS id)' END,
        v_table, service.key_condition(p_key),
        CASE WHEN p_after IS NOT NULL THEN format('AND (%s) > (%s)', v_order, v_after) END)
    INTO records, last
    USING p_app_id, p_customer_id, p_after, p_rows, p_bytes;
END
$$;
COMMENT ON FUNCTION service.referring_rows IS
    'A page of the rows that refer to a customer by this foreign key, as JSON separated by commas: so many rows at most, and no more once that many bytes are reached. last: where the next page begins; NULL after the last page.';
