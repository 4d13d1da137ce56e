-- The rows that refer to a customer, for the export.
--
-- Called by ExportCustomer, page by page. Takes no locks.

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
