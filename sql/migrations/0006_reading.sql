-- Reading: the indexes behind the lists, the renderers of what refers to a customer, the deletion-check.

-- 1. Finding customers -------------------------------------------------------------------------------------------

-- Both extensions are trusted, so the owner of the schema may make them. A database that has them already may have
-- them in another schema: nothing here or in the service names that schema, only the two indexes do.
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gin SCHEMA public;

-- What is looked for, kept in lower case: a name is found by any substring of "first last", which has both names as
-- substrings. By ICU, since what lower() does by itself depends on the locale of the database: under C it leaves É as
-- it is. Stored, since it takes ten times as long to make as to compare. Redaction changes it along with its source.
ALTER TABLE public.customers
    ADD COLUMN searchable_name text COLLATE "und-x-icu"
        GENERATED ALWAYS AS (lower((first_name || ' ' || last_name) COLLATE "und-x-icu")) STORED,
    ADD COLUMN searchable_email text COLLATE "und-x-icu"
        GENERATED ALWAYS AS (lower(email COLLATE "und-x-icu")) STORED;
COMMENT ON COLUMN public.customers.searchable_name IS 'Personal data: both names in lower case, for the list''s filter.';
COMMENT ON COLUMN public.customers.searchable_email IS 'Personal data: the email in lower case, for the list''s filter.';

-- What was inserted lately waits in a pending list, which makes inserting several times faster; every search reads it,
-- so it is kept short.
DO $$
DECLARE
    v_trigrams name := (SELECT n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
                        WHERE e.extname = 'pg_trgm');
BEGIN
    EXECUTE format(
        'CREATE INDEX customers_by_name ON public.customers
         USING gin (app_id, searchable_name %I.gin_trgm_ops)
         WITH (gin_pending_list_limit = 512) WHERE archived_at IS NULL', v_trigrams);
    EXECUTE format(
        'CREATE INDEX customers_by_email ON public.customers
         USING gin (app_id, searchable_email %I.gin_trgm_ops)
         WITH (gin_pending_list_limit = 512) WHERE archived_at IS NULL AND searchable_email IS NOT NULL', v_trigrams);
END
$$;
CREATE INDEX customers_by_age ON public.customers (app_id, created_at DESC, id) WHERE archived_at IS NULL;
CREATE INDEX customers_by_status ON public.customers (app_id, status, created_at DESC, id) WHERE archived_at IS NULL;
COMMENT ON INDEX public.customers_by_name IS 'Substrings of a name, in any case, within an app.';
COMMENT ON INDEX public.customers_by_email IS 'Substrings of an email address, in any case, within an app.';
COMMENT ON INDEX public.customers_by_age IS 'The list without filters, newest first, and its total.';
COMMENT ON INDEX public.customers_by_status IS 'The list by status, newest first, and its total.';

-- 2. What refers to a customer -----------------------------------------------------------------------------------

CREATE FUNCTION service.invoice(i public.invoices) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT row_to_json(r)::text
    FROM (SELECT i.id,
                 i.customer_id,
                 i.invoice_number,
                 i.status,
                 i.amount,
                 i.currency,
                 i.due_date,
                 'app_' || i.app_id AS "appId",
                 service.rfc3339(i.created_at) AS "createdAt",
                 service.rfc3339(i.updated_at) AS "updatedAt") AS r
$$;
COMMENT ON FUNCTION service.invoice(public.invoices) IS 'An invoice as the API renders it.';

CREATE FUNCTION service.payment_link(p public.payment_links) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT row_to_json(r)::text
    FROM (SELECT p.id,
                 p.customer_id,
                 p.url,
                 p.status,
                 p.amount,
                 p.currency,
                 service.rfc3339(p.expires_at) AS expires_at,
                 'app_' || p.app_id AS "appId",
                 service.rfc3339(p.created_at) AS "createdAt",
                 service.rfc3339(p.updated_at) AS "updatedAt") AS r
$$;
COMMENT ON FUNCTION service.payment_link(public.payment_links) IS 'A payment link as the API renders it.';

CREATE FUNCTION service.transaction(t public.transactions) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT row_to_json(r)::text
    FROM (SELECT t.id,
                 t.customer_id,
                 t.kind,
                 t.status,
                 t.amount,
                 t.currency,
                 service.rfc3339(t.occurred_at) AS occurred_at,
                 'app_' || t.app_id AS "appId",
                 service.rfc3339(t.created_at) AS "createdAt") AS r
$$;
COMMENT ON FUNCTION service.transaction(public.transactions) IS 'A transaction as the API renders it.';

CREATE FUNCTION service.liquidation_address(a public.liquidation_addresses) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT row_to_json(r)::text
    FROM (SELECT a.id,
                 a.customer_id,
                 a.chain,
                 a.currency,
                 a.address,
                 'app_' || a.app_id AS "appId",
                 service.rfc3339(a.created_at) AS "createdAt",
                 service.rfc3339(a.updated_at) AS "updatedAt") AS r
$$;
COMMENT ON FUNCTION service.liquidation_address(public.liquidation_addresses) IS
    'A liquidation address as the API renders it.';

CREATE VIEW service.dependents AS
SELECT 'invoices' AS kind, i.app_id, i.customer_id, i.id, i.created_at, service.invoice(i) AS record
FROM public.invoices AS i
UNION ALL
SELECT 'payment_links', p.app_id, p.customer_id, p.id, p.created_at, service.payment_link(p)
FROM public.payment_links AS p
UNION ALL
SELECT 'transactions', t.app_id, t.customer_id, t.id, t.created_at, service.transaction(t)
FROM public.transactions AS t
UNION ALL
SELECT 'liquidation_addresses', a.app_id, a.customer_id, a.id, a.created_at, service.liquidation_address(a)
FROM public.liquidation_addresses AS a;
COMMENT ON VIEW service.dependents IS
    'The records of a customer, of all kinds. kind is a constant of each branch, so a query by kind reads one table.';

-- 3. The deletion-check ------------------------------------------------------------------------------------------

-- It counts rows of tables that somebody else adds later, and that may belong to anybody. A foreign key is checked with
-- the rights of the table's owner; to count, the owner of the schema, as which nobody logs in, needs to read them.
-- A superuser can let it; failing that, at least what the migrating role adds can be read.
RESET ROLE;
DO $$
DECLARE
    v_owner regrole := (SELECT nspowner FROM pg_namespace WHERE nspname = 'service');
BEGIN
    IF NOT pg_has_role(v_owner, 'pg_read_all_data', 'USAGE') THEN
        EXECUTE format('GRANT pg_read_all_data TO %s', v_owner);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    EXECUTE format('ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO %s', v_owner);
WHEN unique_violation THEN
    NULL;  -- Another database of the cluster let it at this moment.
END
$$;
SET LOCAL ROLE :"owner";

CREATE FUNCTION service.deletion_check(
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
                   -- Who refers to himself goes along.
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

-- 4. The trail ---------------------------------------------------------------------------------------------------

CREATE INDEX entries_by_outcome ON audit.entries (app_id, outcome, seq);
CREATE INDEX entries_by_actor_name ON audit.entries (app_id, actor_name, seq) WHERE actor_name IS NOT NULL;
CREATE INDEX entries_by_claimed_actor ON audit.entries (app_id, actor_claimed, seq) WHERE actor_claimed IS NOT NULL;

CREATE FUNCTION service.audit_entry(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT row_to_json(r)::text
    FROM (SELECT e.seq,
                 e.id,
                 e.app_id,
                 service.rfc3339(e.occurred_at) AS occurred_at,
                 service.rfc3339(e.recorded_at) AS recorded_at,
                 e.action,
                 e.outcome,
                 e.status_code,
                 e.customer_id,
                 e.before_image,
                 e.actor_key_id,
                 e.actor_client_key,
                 e.actor_name,
                 e.actor_role,
                 e.actor_claimed,
                 e.reason,
                 e.ip,
                 e.user_agent,
                 e.request_id,
                 e.idempotency_key,
                 e.request,
                 e.error_code,
                 e.sqlstate,
                 e.constraint_name,
                 e.referencing_table,
                 e.error_message,
                 encode(e.previous_hash, 'hex') AS previous_hash,
                 encode(e.hash, 'hex') AS hash,
                 encode(e.subject_commitment, 'hex') AS subject_commitment,
                 encode(e.context_commitment, 'hex') AS context_commitment) AS r
$$;
COMMENT ON FUNCTION service.audit_entry(audit.entries) IS
    'An audit entry as the API renders it: its columns in order, without the salts, with which an erased value could be guessed.';

CREATE FUNCTION service.audit_proof(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT left(service.audit_entry(e), -1)
        || ',"subject_salt":' || coalesce('"' || encode(e.subject_salt, 'hex') || '"', 'null')
        || ',"context_salt":' || coalesce('"' || encode(e.context_salt, 'hex') || '"', 'null')
        || '}'
$$;
COMMENT ON FUNCTION service.audit_proof(audit.entries) IS
    'The same with the salts, for who computes the hashes again: docs/audit-chain.md.';

-- 5. Who may do what ---------------------------------------------------------------------------------------------

GRANT SELECT ON service.dependents TO :"service";
GRANT EXECUTE ON FUNCTION
    service.invoice, service.payment_link, service.transaction, service.liquidation_address,
    service.deletion_check, service.audit_entry, service.audit_proof
TO :"service";
