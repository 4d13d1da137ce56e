-- Tables that refer to customers, and whether they may be read.
--
-- Called by reached.sql and referring.sql. Takes no locks. Rows are counted and read with the rights of the owner. A
-- table that it can't read, or that has row-level security, isn't; nor is one whose reading would run another role's
-- code with these rights: by the operators of its key, or by the functions in its indexes and constraints, which the
-- planner calls.

CREATE OR REPLACE FUNCTION service.runs_foreign_code(p_table oid) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- An IMMUTABLE function in the predicate of an index, in a CHECK, a partition's bounds, a generated column or
    -- extended statistics is called while a query is planned, with the rights of the role that runs the query. All of
    -- them depend on it in pg_depend, except on what PostgreSQL brings. Functions of extensions are trusted, as are
    -- those of the table's owner if that role can act as the current one anyway.
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
            SELECT 'pg_statistic_ext'::regclass::oid, s.oid
            FROM tables AS t JOIN pg_statistic_ext AS s ON s.stxrelid = t.oid),
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
                   AND pg_has_role(
                        (SELECT t.relowner FROM pg_class AS t WHERE t.oid = p_table), current_user, 'MEMBER')));
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
