-- What the schema guarantees.
BEGIN;
SELECT plan(18);

SELECT is_empty($$
    SELECT n.nspname || '.' || t.relname
    FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE n.nspname IN ('public', 'audit', 'service') AND t.relkind IN ('r', 'v')
      AND obj_description(t.oid, 'pg_class') IS NULL
      AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = t.oid AND d.deptype = 'e') $$,
    'every table and view is commented');
SELECT is_empty($$
    SELECT t.oid::regclass || '.' || a.attname
    FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname IN ('public', 'audit', 'service') AND t.relkind = 'r' AND col_description(t.oid, a.attnum) IS NULL $$,
    'every column is commented');
SELECT is_empty($$
    SELECT p.oid::regprocedure
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('audit', 'service') AND obj_description(p.oid, 'pg_proc') IS NULL $$,
    'every function is commented');
SELECT is_empty($$
    SELECT p.oid::regprocedure
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE (n.nspname IN ('audit', 'service') OR p.prosecdef AND n.nspname = 'public')
      AND p.prosqlbody IS NULL
      AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
      -- An operator, or a type or a function without its schema.
      AND (p.prosrc ~ '[-+*/<>=~!@#%^&|`?]' OR p.prosrc ~ '::(?!pg_catalog\.|service\.)' OR regexp_replace(p.prosrc, '\m(SELECT|ROW|FROM) ?\(', '', 'g') ~ '(^|[^.\w])\w+\(') $$,
    'every function pins its search_path, or has a body whose names were resolved when it was made, or qualifies them all');
SELECT is_empty($$
    SELECT p.oid::regprocedure, t.typname
    FROM pg_proc AS p
    JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_type'::regclass
    JOIN pg_type AS t ON t.oid = d.refobjid
    JOIN pg_class AS c ON c.oid = t.typrelid AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
    WHERE p.prosqlbody IS NOT NULL $$,
    'no function whose names are bound takes a row of a table that an operator may alter');
SELECT lives_ok($$
    ALTER TABLE public.customers ADD tests_shouted text GENERATED ALWAYS AS (upper(first_name)) STORED;
    ALTER TABLE public.invoices ADD tests_number bigint GENERATED ALWAYS AS IDENTITY;
    ALTER TABLE public.payment_links ALTER amount TYPE numeric(20, 4);
    ALTER TABLE public.transactions ADD tests_at timestamptz DEFAULT clock_timestamp();
    ALTER TABLE public.liquidation_addresses ALTER address TYPE varchar(200) $$,
    'an operator can alter the tables of the business, where that rewrites them, too');
SELECT is_empty($$
    SELECT p.privilege, p.kind, p.object
    FROM service.privileges AS p
    WHERE p.kind = 'function' AND NOT EXISTS (
        SELECT FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
        WHERE n.nspname || '.' || f.proname = p.object)
       OR p.kind = 'table' AND to_regclass(p.object) IS NULL
       OR p.kind = 'schema' AND to_regnamespace(p.object) IS NULL $$,
    'every object in the list of privileges exists');
SELECT is_empty($$
    SELECT n.nspname, f.proname
    FROM pg_proc AS f JOIN pg_namespace AS n ON n.oid = f.pronamespace
    CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
    WHERE n.nspname IN ('audit', 'service') AND a.grantee = 0 $$,
    'no function is PUBLIC''s');
SELECT is_empty($$
    SELECT c.conname
    FROM pg_constraint AS c
    WHERE c.contype = 'f' AND c.confrelid = 'public.customers'::regclass
      AND (c.confdeltype NOT IN ('a', 'r') OR NOT c.convalidated) $$,
    'no foreign key on customers cascades');
SELECT is_empty($$
    SELECT c.conrelid::regclass || '.' || a.attname
    FROM pg_constraint AS c
    JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
    WHERE c.contype = 'f' AND c.confrelid = 'public.customers'::regclass AND NOT a.attnotnull $$,
    'and none lets a NULL through');
SELECT is_empty($$
    SELECT t.oid::regclass
    FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
    JOIN pg_index AS i ON i.indrelid = t.oid AND i.indisprimary
    JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]
    WHERE n.nspname IN ('public', 'audit', 'service') AND t.relkind = 'r' AND t.relname NOT IN ('migrations', 'applied_functions')
      AND a.attname <> 'app_id' $$,
    'every primary key begins with app_id');
-- A schema distributed by app_id (docs/scale.md) can't keep a key without it.
SELECT bag_eq($$
    SELECT i.indexrelid::regclass::text
    FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE n.nspname IN ('public', 'audit', 'service') AND i.indisunique AND t.relname NOT IN ('migrations', 'applied_functions')
      AND NOT EXISTS (
          SELECT FROM pg_attribute AS a
          WHERE a.attrelid = t.oid AND a.attname = 'app_id' AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])) $$,
    ARRAY ['audit.entries_are_appended_once', 'service.api_keys_client_key_names_one_key'],
    'every unique key holds app_id, but for two that distribution.sql deals with');
SELECT is_empty($$
    SELECT t.oid::regclass
    FROM pg_class AS t JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE n.nspname IN ('public', 'audit', 'service') AND t.relkind = 'r' AND t.relname NOT IN ('migrations', 'applied_functions')
      AND NOT EXISTS (SELECT FROM pg_attribute AS a
                      WHERE a.attrelid = t.oid AND a.attname = 'app_id' AND a.atttypid = 'uuid'::regtype AND a.attnotnull) $$,
    'every table has the column by which it is distributed');
SELECT is_empty($$
    SELECT c.conname
    FROM pg_constraint AS c JOIN pg_namespace AS n ON n.oid = c.connamespace
    WHERE n.nspname IN ('public', 'audit', 'service') AND c.contype = 'f'
      AND NOT EXISTS (
          SELECT
          FROM unnest(c.conkey, c.confkey) AS pair (ours, theirs)
          JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = pair.ours
          JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = pair.theirs
          WHERE a.attname = 'app_id' AND b.attname = 'app_id') $$,
    'every foreign key pairs app_id with app_id');
-- Citus creates what reads a table's columns along with the table, so what that calls can't need the table first.
SELECT is_empty($$
    SELECT DISTINCT pg_describe_object(reader.classid, reader.objid, 0), called.refobjid::regprocedure
    FROM pg_depend AS reader
    JOIN pg_class AS t ON t.oid = reader.refobjid AND t.relkind = 'r'
    JOIN pg_namespace AS n ON n.oid = t.relnamespace AND n.nspname IN ('public', 'audit', 'service')
    JOIN pg_depend AS called ON called.classid = reader.classid AND called.objid = reader.objid
                            AND called.refclassid = 'pg_proc'::regclass
    JOIN pg_depend AS needed ON needed.classid = 'pg_proc'::regclass AND needed.objid = called.refobjid
                            AND needed.refobjid IN (t.oid, t.reltype)
    WHERE reader.refclassid = 'pg_class'::regclass $$,
    'nothing both reads a table''s columns and calls a function that takes its row: one function for each');
SELECT is_empty($$
    SELECT p.oid::regprocedure
    FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace JOIN pg_language AS l ON l.oid = p.prolang
    WHERE n.nspname IN ('audit', 'service') AND l.lanname = 'sql'
      AND coalesce(p.prosqlbody::text ~ ':rtekind 0 :relid [0-9]{5,}',
                   p.prosrc ~* '\m(from|join|into|update)\s+(public|audit|service)\.\w+\s+as\M') $$,
    'no function in SQL reads a table: the parameters of such a one mean nothing to Citus');
SELECT is(
    (SELECT string_agg(a.attname, ' ' ORDER BY a.attnum) FROM pg_attribute AS a
     WHERE a.attrelid = 'audit.entries'::regclass AND a.attnum BETWEEN 1 AND 28),
    'seq id app_id occurred_at recorded_at action outcome status_code customer_id before_image actor_key_id actor_client_key '
    'actor_name actor_role actor_claimed reason ip user_agent request_id idempotency_key request error_code sqlstate '
    'constraint_name referencing_table error_message previous_hash hash',
    'the columns of the trail come first and in the order of docs/api.md, Audit');
SELECT is(
    audit.hmac_sha256(decode(repeat('0b', 32), 'hex'), 'Hi There'),
    '\x198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7'::bytea,
    'HMAC-SHA-256 is what other implementations compute');

SELECT finish();
ROLLBACK;
