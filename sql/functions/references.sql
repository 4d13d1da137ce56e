-- References: which foreign keys lead to customers, and what they would do to a deletion.
--
-- Called by DeleteCustomer after a violation, and by deletion-check. Reads the catalogue; takes no locks but those of a
-- read.

CREATE OR REPLACE FUNCTION service.is_reference_to_customers(p_schema text, p_table text, p_constraint text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT
        FROM pg_catalog.pg_constraint AS c
        JOIN pg_catalog.pg_class AS t ON t.oid = c.conrelid
        JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
        WHERE c.contype = 'f'
          AND c.confrelid = 'public.customers'::regclass
          AND c.conname = p_constraint
          AND t.relname = p_table
          AND n.nspname = p_schema)
$$;
COMMENT ON FUNCTION service.is_reference_to_customers(text, text, text) IS
    'Whether a constraint that failed is a foreign key on customers: only such a failure is a refusal.';

CREATE OR REPLACE FUNCTION service.deletion_check(
    p_app_id uuid, p_customer_id uuid, OUT customer text, OUT deletable boolean, OUT blockers text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS $$
DECLARE
    v_customer  public.customers;
    v_reference record;
    v_count     bigint;
    v_blockers  text[] := '{}';
BEGIN
    SELECT * INTO v_customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    FOR v_reference IN
        SELECT CASE n.nspname WHEN 'public' THEN t.relname::text ELSE n.nspname || '.' || t.relname END AS table_name,
               k.conname::text AS constraint_name,
               format(
                   'SELECT count(*) FROM %s%I.%I AS r WHERE %s%s',
                   CASE t.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END,
                   n.nspname,
                   t.relname,
                   (SELECT string_agg(
                               format('($1).%I OPERATOR(%I.%s) r.%I', theirs.attname, s.nspname, o.oprname, ours.attname),
                               ' AND ' ORDER BY pair.position)
                    FROM unnest(k.confkey, k.conkey, k.conpfeqop)
                        WITH ORDINALITY AS pair (referenced, referencing, operator, position)
                    JOIN pg_attribute AS theirs ON theirs.attrelid = k.confrelid AND theirs.attnum = pair.referenced
                    JOIN pg_attribute AS ours ON ours.attrelid = k.conrelid AND ours.attnum = pair.referencing
                    JOIN pg_operator AS o ON o.oid = pair.operator
                    JOIN pg_namespace AS s ON s.oid = o.oprnamespace),
                   -- A row that refers to itself goes along.
                   CASE k.conrelid WHEN k.confrelid THEN ' AND (r.app_id, r.id) <> (($1).app_id, ($1).id)' ELSE '' END
               ) AS query
        FROM pg_constraint AS k
        JOIN pg_class AS t ON t.oid = k.conrelid
        JOIN pg_namespace AS n ON n.oid = t.relnamespace
        WHERE k.contype = 'f'
          AND k.confrelid = 'public.customers'::regclass
          AND k.conparentid = 0
          AND k.confdeltype IN ('a', 'r')
          -- Version 18 knows keys that aren't enforced.
          AND (to_jsonb(k) ->> 'conenforced')::boolean IS NOT false
        ORDER BY n.nspname <> 'public', n.nspname, t.relname, k.conname
    LOOP
        EXECUTE v_reference.query INTO v_count USING v_customer;
        IF v_count > 0 THEN
            v_blockers := v_blockers || format(
                '{"table":%s,"constraint":%s,"count":%s}',
                to_json(v_reference.table_name), to_json(v_reference.constraint_name), v_count);
        END IF;
    END LOOP;
    customer := service.record(v_customer);
    deletable := v_blockers = '{}';
    blockers := '[' || array_to_string(v_blockers, ',') || ']';
END
$$;
COMMENT ON FUNCTION service.deletion_check IS
    'Whether a customer could be deleted now, and if not, which foreign keys refuse and how many rows each. From the catalogue, so a table added later is counted too. All NULL when there is no such customer.';
