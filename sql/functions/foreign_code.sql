-- Foreign code: what others wrote and a deletion would run with the rights of the role that deletes.
--
-- Called before every DELETE of a customer that can reach further rows: by cascading, try_deletion and reapply_deletion;
-- by doctor. Takes no locks.
--
-- A key that acts changes rows with the rights of their table's owner, but before version 18 PostgreSQL runs AFTER triggers
-- and deferred checks of such rows, even of none, with the rights of the role that deletes. BEFORE triggers, CHECKs,
-- generated columns and immediate index expressions run as the owner, SECURITY DEFINER functions as theirs.
-- Source: PostgreSQL 18 release notes, "Execute AFTER triggers as the role that was active when trigger events were queued".

CREATE OR REPLACE FUNCTION service.foreign_code(
    OUT key oid, OUT schema_name name, OUT table_name name, OUT constraint_name name, OUT code text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF current_setting('server_version_num')::int >= 180000 THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH changed AS (
        SELECT c.key, c.effect, t.oid AS relation
        FROM service.key_closure() AS c
        CROSS JOIN LATERAL (SELECT c.relation UNION SELECT p.relid FROM pg_partition_tree(c.relation) AS p) AS t (oid)
        WHERE c.effect IN ('DELETE', 'UPDATE')),
    found AS (
        -- Bits of tgtype: 2 BEFORE, 64 INSTEAD OF, 8 DELETE, 16 UPDATE.
        SELECT c.key, f.proowner AS writer, format('the trigger %s of %s', quote_ident(g.tgname), g.tgrelid::regclass) AS code
        FROM changed AS c
        JOIN pg_trigger AS g ON g.tgrelid = c.relation
        JOIN pg_proc AS f ON f.oid = g.tgfoid
        WHERE NOT g.tgisinternal AND g.tgenabled <> 'D' AND NOT f.prosecdef
          AND g.tgtype & 66 = 0 AND g.tgtype & CASE c.effect WHEN 'DELETE' THEN 8 ELSE 16 END <> 0
        UNION ALL
        SELECT c.key, t.relowner, format('the expressions of the deferred constraint %s', i.indexrelid::regclass)
        FROM changed AS c
        JOIN pg_index AS i ON i.indrelid = c.relation
        JOIN pg_class AS t ON t.oid = c.relation
        WHERE c.effect = 'UPDATE' AND NOT i.indimmediate AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
    SELECT f.key, n.nspname, t.relname, k.conname, min(f.code)
    FROM found AS f
    JOIN pg_roles AS r ON r.oid = f.writer
    JOIN pg_constraint AS k ON k.oid = f.key
    JOIN pg_class AS t ON t.oid = k.conrelid
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    -- Who owns customers, the database or everything has these rights anyway.
    WHERE NOT r.rolsuper
      AND NOT pg_has_role(
          f.writer, (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'public.customers'::regclass), 'MEMBER')
      AND f.writer <> (SELECT d.datdba FROM pg_database AS d WHERE d.datname = current_database())
    GROUP BY f.key, n.nspname, t.relname, k.conname
    ORDER BY n.nspname, t.relname, k.conname;
END
$$;
COMMENT ON FUNCTION service.foreign_code IS
    'The foreign keys through which a deletion would run code of others with the rights of the role that deletes, each with one piece of such code. None from PostgreSQL 18 on.';

CREATE OR REPLACE FUNCTION service.refuse_foreign_code() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_found record;
BEGIN
    IF NOT service.has_acting_keys() THEN
        RETURN;
    END IF;
    SELECT * INTO v_found FROM service.foreign_code() AS f LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a deletion would run % with the rights of the role that deletes', v_found.code
            USING ERRCODE = 'foreign_key_violation', SCHEMA = v_found.schema_name, TABLE = v_found.table_name,
                  CONSTRAINT = v_found.constraint_name;
    END IF;
END
$$;
COMMENT ON FUNCTION service.refuse_foreign_code IS
    'Raises the violation of a foreign key through which a deletion would run code of others with the rights of the role that deletes.';
