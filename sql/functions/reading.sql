-- Reading the trail: entries as the API shows them. Called by the audit operations and by the export of a customer.
-- Takes no locks. Bodies of standard SQL, as in rendering.sql.

CREATE OR REPLACE FUNCTION service.audit_entry(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
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
                 CASE WHEN NOT hidden.yes THEN e.before_image END AS before_image,
                 e.actor_key_id,
                 e.actor_client_key,
                 e.actor_name,
                 e.actor_role,
                 e.actor_claimed,
                 CASE WHEN NOT hidden.yes THEN e.reason END AS reason,
                 e.ip,
                 e.user_agent,
                 e.request_id,
                 e.idempotency_key,
                 e.request,
                 e.error_code,
                 e.sqlstate,
                 e.constraint_name,
                 e.referencing_table,
                 CASE WHEN NOT hidden.yes THEN e.error_message END AS error_message,
                 encode(e.previous_hash, 'hex') AS previous_hash,
                 encode(e.hash, 'hex') AS hash,
                 encode(e.subject_commitment, 'hex') AS subject_commitment,
                 encode(e.context_commitment, 'hex') AS context_commitment
          FROM (SELECT service.is_under_redaction(e.app_id, e.customer_id, e.seq) AS yes) AS hidden) AS r);
COMMENT ON FUNCTION service.audit_entry(audit.entries) IS
    'An audit entry as the API renders it: its columns in order, without the salts, with which an erased value could be guessed, and without what a redaction is about to erase.';

CREATE OR REPLACE FUNCTION service.audit_proof(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN left(service.audit_entry(e), -1)
    || ',"subject_salt":' || coalesce(
        CASE WHEN NOT service.is_under_redaction(e.app_id, e.customer_id, e.seq)
             THEN '"' || encode(e.subject_salt, 'hex') || '"' END, 'null')
    || ',"context_salt":' || coalesce('"' || encode(e.context_salt, 'hex') || '"', 'null')
    || '}';
COMMENT ON FUNCTION service.audit_proof(audit.entries) IS
    'The same with the salts, so that a reader can compute the hashes: docs/audit-chain.md.';

-- Called by the list of customers. Folded first and then escaped, because folding makes a wildcard of a full-width one.
CREATE OR REPLACE FUNCTION service.containing(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '%' || replace(replace(replace(service.caseless(p_text), '\', '\\'), '%', '\%'), '_', '\_') || '%';
COMMENT ON FUNCTION service.containing(text) IS
    'A pattern for LIKE that matches what contains a text, as the searchable columns hold it.';

-- Dynamic, so that each statement is planned for the filters that are there and their values. The order of time is an
-- index, but for few matches the database would scan all customers in it; those are gathered first.
CREATE OR REPLACE FUNCTION service.list_customers(
    p_app_id uuid, p_status text, p_name text, p_email text, p_phone text, p_id uuid, p_archived boolean,
    p_total text, p_after_time timestamptz, p_after_id uuid, p_skip int, p_take int,
    OUT records text, OUT total bigint, OUT next_time text, OUT next_id uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_few constant int := 10000;
    v_matching text := concat_ws(' AND ', 'public.customers AS c WHERE c.app_id = $1',
        CASE WHEN p_archived THEN 'c.archived_at IS NOT NULL' ELSE 'c.archived_at IS NULL' END,
        CASE WHEN p_status IS NOT NULL THEN 'c.status = $2' END,
        CASE WHEN p_name IS NOT NULL THEN 'c.searchable_name LIKE service.containing($3)' END,
        CASE WHEN p_email IS NOT NULL THEN 'c.searchable_email LIKE service.containing($4)' END,
        CASE WHEN p_phone IS NOT NULL
             THEN $sql$reverse(regexp_replace(c.phone_number, '[^0-9]', '', 'g')) LIKE reverse($5) || '%'$sql$ END,
        CASE WHEN p_id IS NOT NULL THEN 'c.id = $6' END);
    v_gathers boolean := num_nonnulls(p_name, p_email, p_phone, p_id) > 0;
    v_plan json;
    v_from text;
BEGIN
    IF p_total = 'estimate' OR p_total = 'none' AND v_gathers THEN
        EXECUTE format('SELECT count(*) FROM (SELECT FROM %s LIMIT %s) AS few', v_matching, c_few + 1)
        INTO total USING p_app_id, p_status, p_name, p_email, p_phone, p_id;
        v_gathers := v_gathers AND total <= c_few;
        IF p_total = 'none' THEN
            total := NULL;
        ELSIF total > c_few THEN
            EXECUTE format('EXPLAIN (FORMAT JSON) SELECT FROM %s', v_matching)
            INTO v_plan USING p_app_id, p_status, p_name, p_email, p_phone, p_id;
            total := greatest(total, (v_plan -> 0 -> 'Plan' ->> 'Plan Rows')::bigint);
        END IF;
    END IF;

    v_from := CASE WHEN v_gathers THEN 'matching AS c WHERE true' ELSE v_matching END;
    EXECUTE concat(
        CASE WHEN v_gathers THEN format('WITH matching AS MATERIALIZED (SELECT c.created_at, c.id FROM %s) ', v_matching) END,
        'SELECT string_agg(service.record(c.*), '','' ORDER BY page.n) FILTER (WHERE page.n <= $10),
                service.rfc3339(max(page.created_at) FILTER (WHERE page.n = $10 AND page.has_more)),
                (array_agg(page.id) FILTER (WHERE page.n = $10 AND page.has_more))[1],
                ', CASE p_total WHEN 'exact' THEN format('(SELECT count(*) FROM %s)', v_from) ELSE '$11' END,
        ' FROM (SELECT p.created_at, p.id, row_number() OVER (ORDER BY p.created_at DESC, p.id) AS n,
                       count(*) OVER () > $10 AS has_more
                FROM (', format(
            CASE WHEN p_after_id IS NULL THEN
                'SELECT c.created_at, c.id FROM %1$s ORDER BY c.created_at DESC, c.id OFFSET $9 LIMIT $10 + 1'
            ELSE -- Two ranges of the index, in whose mixed order no row comparison goes.
                '(SELECT c.created_at, c.id FROM %1$s AND c.created_at = $7 AND c.id > $8 ORDER BY c.id LIMIT $10 + 1)
                 UNION ALL
                 (SELECT c.created_at, c.id FROM %1$s AND c.created_at < $7 ORDER BY c.created_at DESC, c.id LIMIT $10 + 1)
                 ORDER BY 1 DESC, 2 LIMIT $10 + 1'
            END, v_from), ') AS p) AS page
         JOIN public.customers AS c ON c.app_id = $1 AND c.id = page.id')
    INTO records, next_time, next_id, total
    USING p_app_id, p_status, p_name, p_email, p_phone, p_id, p_after_time, p_after_id, p_skip, p_take, total;
END
$$;
COMMENT ON FUNCTION service.list_customers IS
    'A page of an app''s customers, newest first, and how many there are: exact, none, or an estimate, which is exact up to 10,000 and the planner''s beyond. next_time and next_id are those of the last record when there is a next page.';
