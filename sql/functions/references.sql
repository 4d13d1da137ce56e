-- References: which foreign keys lead to customers, what they would refuse, and what they would take along.
--
-- Called by DeleteCustomer before the DELETE (cascading) and after a violation (refusal); by deletion-check, whose
-- verdict is that of a DELETE which is tried and rolled back; and by SubjectExport (referring_tables, referring_rows).
-- Everything is read from the catalog, so a table that is added later needs no change here.
-- Locks: deletion_check those of a DELETE, for the time of the try; the others none.
--
-- Rows are counted and read with the rights of the owner. A table that it can't read, or that has row-level security,
-- isn't; nor is one whose key compares by operators from outside of pg_catalog, which would be code of a stranger.

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
               CASE WHEN next.effect = 'UPDATE' THEN CASE s.effect WHEN 'DELETE' THEN k.set_columns ELSE k.conkey END END
        FROM closure AS s
        CROSS JOIN (VALUES (false), (true)) AS side (is_own)
        JOIN keys AS k
          ON CASE WHEN side.is_own THEN s.effect = 'UPDATE' AND k.referencing = s.relation AND k.conkey && s.changed
                  ELSE k.referenced = s.relation
                       AND (s.effect = 'DELETE' OR s.effect = 'UPDATE' AND k.confkey && s.changed) END
        CROSS JOIN LATERAL (
            SELECT CASE WHEN side.is_own THEN 'k' WHEN s.effect = 'DELETE' THEN k.confdeltype ELSE k.confupdtype END) AS how (action)
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
    v_table oid := to_regclass(format('%I.%I', p_schema, p_table));
    v_key   oid;
BEGIN
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
    ELSIF p_sqlstate = '23502' THEN
        -- The first key that would have put the NULL there.
        SELECT c.key INTO v_key
        FROM service.key_closure() AS c
        JOIN pg_constraint AS k ON k.oid = c.key
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (c.changed)
        WHERE c.effect = 'UPDATE' AND c.relation = coalesce(pg_partition_root(v_table), v_table) AND a.attname = p_column
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
          AND NOT row_security_active(t.oid));
END
$$;
COMMENT ON FUNCTION service.readable_table IS
    'A table as FROM names it, if the current role sees all of its rows; otherwise NULL.';

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

CREATE OR REPLACE FUNCTION service.try_deletion(
    p_app_id uuid, p_customer_id uuid,
    OUT deletable boolean, OUT referencing_table text, OUT constraint_name text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_deleted    bigint;
    v_sqlstate   text;
    v_schema     text;
    v_table      text;
    v_column     text;
    v_constraint text;
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        RETURN;
    END IF;
    BEGIN
        -- Short: what another transaction holds is not waited for, and others wait for this as little.
        PERFORM set_config('lock_timeout', '100ms', true);
        PERFORM
        FROM public.customers AS c
        WHERE c.app_id = p_app_id AND c.id = p_customer_id
        FOR UPDATE NOWAIT;
        DELETE FROM public.customers AS c
        WHERE c.app_id = p_app_id AND c.id = p_customer_id;
        GET DIAGNOSTICS v_deleted = ROW_COUNT;
        SET CONSTRAINTS ALL IMMEDIATE;
        -- Nothing of this stays: the exception rolls it back.
        RAISE EXCEPTION 'tried' USING ERRCODE = 'CD005';
    EXCEPTION
        WHEN SQLSTATE 'CD005' THEN
            deletable := v_deleted > 0;
        WHEN lock_not_available OR deadlock_detected OR serialization_failure THEN
            RETURN;
        WHEN integrity_constraint_violation THEN
            GET STACKED DIAGNOSTICS
                v_sqlstate = RETURNED_SQLSTATE, v_schema = SCHEMA_NAME, v_table = TABLE_NAME,
                v_column = COLUMN_NAME, v_constraint = CONSTRAINT_NAME;
            deletable := false;
            SELECT r.referencing_table, r.constraint_name INTO referencing_table, constraint_name
            FROM service.refusal(v_sqlstate, v_schema, v_table, v_column, v_constraint) AS r;
        WHEN insufficient_resources OR operator_intervention OR system_error THEN
            RAISE;
        WHEN OTHERS THEN
            -- Somebody's trigger, or a privilege that is missing: the deletion would fail.
            deletable := false;
    END;
END
$$;
COMMENT ON FUNCTION service.try_deletion IS
    'Deletes a customer and rolls that back, to find out whether it can be deleted: triggers and policies act as on the deletion itself, so it runs with the rights of its caller. deletable NULL: it can''t be tried now, because the customer or its records are locked or the server is read-only. Otherwise the constraint that refused, if one did.';

CREATE OR REPLACE FUNCTION service.reference_item(p_table text, p_constraint text, p_count bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '{"table":' || to_json(p_table) || ',"constraint":' || to_json(p_constraint)
    || ',"count":' || coalesce(p_count::text, 'null') || '}';
COMMENT ON FUNCTION service.reference_item IS 'A foreign key and its number of rows as the API renders it.';

CREATE OR REPLACE FUNCTION service.deletion_check(
    p_app_id uuid, p_customer_id uuid,
    OUT customer text, OUT deletable boolean, OUT blockers text, OUT cascades text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_tried    record;
    v_reached  record;
    v_item     text;
    v_is_known boolean := false;
    v_count    bigint;
    v_refuses  text[] := '{}';
    v_acts     text[] := '{}';
BEGIN
    SELECT service.record(c) INTO customer
    FROM public.customers AS c
    WHERE c.app_id = p_app_id AND c.id = p_customer_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- The try leaves nothing that would have to be durable.
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO v_tried FROM service.try_deletion(p_app_id, p_customer_id);
    FOR v_reached IN
        SELECT *
        FROM service.reached_rows(p_app_id, p_customer_id)
        -- If it can be deleted and nothing acts, there is nothing to be counted.
        WHERE v_tried.deletable IS NOT true OR service.has_acting_keys()
    LOOP
        v_item := service.reference_item(v_reached.table_name, v_reached.constraint_name, v_reached.count);
        IF v_reached.action IS NOT NULL THEN
            v_acts := v_acts || v_item;
        ELSIF v_tried.deletable IS NOT true THEN
            v_refuses := v_refuses || v_item;
        END IF;
        IF (v_reached.table_name, v_reached.constraint_name) = (v_tried.referencing_table, v_tried.constraint_name) THEN
            v_is_known := v_reached.action IS NULL;
            v_count := v_reached.count;
        END IF;
    END LOOP;
    -- What refused may be no key that refuses: one that acts on a column that can't be null, or another constraint.
    IF v_tried.constraint_name IS NOT NULL AND NOT v_is_known THEN
        v_refuses := v_refuses
            || service.reference_item(v_tried.referencing_table, v_tried.constraint_name, v_count);
    END IF;
    deletable := coalesce(v_tried.deletable, v_refuses = '{}');
    blockers := '[' || array_to_string(v_refuses, ',') || ']';
    cascades := '[' || array_to_string(v_acts, ',') || ']';
END
$$;
COMMENT ON FUNCTION service.deletion_check IS
    'Whether a customer could be deleted now, which foreign keys refuse, and which would take rows along, with the number of rows. Found out by trying; by counting alone where that can''t be done now. All NULL when there is no such customer.';

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
             SELECT (SELECT row_to_json(x)::text FROM (SELECT %1$s) AS x) AS record,
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
    'A page of the rows that refer to a customer by this foreign key, as JSON separated by commas: so many rows at most, and no more once that many bytes are reached. last: where the next page goes on; NULL after the last page.';
