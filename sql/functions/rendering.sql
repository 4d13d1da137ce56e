-- Rendering: rows as the API shows them, members in the order of the contract, numeric digit by digit.
--
-- Called by every operation and by the functions of the protocol. Takes no locks. Those of many rows and requests are
-- single expressions without a query, which the planner inlines into the calling query instead of planning them at each
-- call, which takes four times as long as the rest of a rendering. Names can't be replaced through the search_path: most have bodies of standard SQL, whose names
-- are bound at creation. Those that take a row of a table of public can't: PostgreSQL (since 15.20) refuses to rewrite
-- a table, as ALTER TABLE … ADD … GENERATED does, while a bound body refers to its row type. They qualify every name,
-- and use no operator.

CREATE OR REPLACE FUNCTION service.rfc3339(t timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (to_json(t AT TIME ZONE 'UTC') #>> '{}') || 'Z';
COMMENT ON FUNCTION service.rfc3339(timestamptz) IS
    'A time in UTC as RFC 3339 has it: no fraction when it is zero, else the digits that the database holds.';

CREATE OR REPLACE FUNCTION service.record(c public.customers) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT pg_catalog.row_to_json(ROW(
        c.id,
        c.first_name,
        c.last_name,
        c.email,
        c.phone_number,
        c.status,
        c.customer_type,
        c.last_spent,
        service.rfc3339(c.last_purchase_date),
        pg_catalog.concat('app_', c.app_id),
        service.rfc3339(c.created_at),
        service.rfc3339(c.updated_at))::service.customer_record)::pg_catalog.text
$$;
COMMENT ON FUNCTION service.record(public.customers) IS 'A customer as the API renders it. The only renderer.';

CREATE OR REPLACE FUNCTION service.further_columns(p_row jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(jsonb_strip_nulls(p_row - '{
    app_id, id, first_name, last_name, email, phone_number, status, customer_type, last_spent, last_purchase_date,
    created_at, updated_at, searchable_name, searchable_email}'::text[]), '{}');
COMMENT ON FUNCTION service.further_columns(jsonb) IS
    'The columns of a customer, without NULLs, that its record doesn''t show. NULL if there are none.';

CREATE OR REPLACE FUNCTION service.image_with_columns(p_record text, p_row jsonb) RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_columns jsonb := (
        SELECT jsonb_object_agg(m.key, p_row -> m.key)
        FROM jsonb_object_keys(service.further_columns(p_row)) AS m (key)
        WHERE NOT EXISTS (
            SELECT
            FROM pg_attribute AS a
            WHERE a.attrelid = 'public.customers'::regclass AND a.attname = m.key AND a.attgenerated <> ''));
BEGIN
    RETURN left(p_record, -1) || coalesce(',"columns":' || v_columns::text, '') || '}';
END
$$;
COMMENT ON FUNCTION service.image_with_columns(text, jsonb) IS
    'The before-image of a customer that has further columns.';

CREATE OR REPLACE FUNCTION service.image(c public.customers) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN service.further_columns(pg_catalog.to_jsonb(c)) IS NULL THEN service.record(c)
                ELSE service.image_with_columns(service.record(c), pg_catalog.to_jsonb(c)) END
$$;
COMMENT ON FUNCTION service.image(public.customers) IS
    'The before-image of a customer: its record and, under "columns", every further column that isn''t null, archived_at and those that the operator added; generated ones not.';

CREATE OR REPLACE FUNCTION service.imaged_record(p_image jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN row_to_json(ROW(
    (p_image ->> 'id')::uuid,
    p_image ->> 'first_name',
    p_image ->> 'last_name',
    p_image ->> 'email',
    p_image ->> 'phone_number',
    p_image ->> 'status',
    p_image ->> 'customer_type',
    (p_image ->> 'last_spent')::numeric,
    p_image ->> 'last_purchase_date',
    p_image ->> 'appId',
    p_image ->> 'createdAt',
    p_image ->> 'updatedAt')::service.customer_record)::text;
COMMENT ON FUNCTION service.imaged_record(jsonb) IS 'The record that a before-image of the trail was made of, to the byte.';

-- STABLE, as convert_to is: a function that claims more than its body isn't inlined.
CREATE OR REPLACE FUNCTION service.etag(p_record text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN '"' || left(encode(sha256(convert_to(p_record, 'UTF8')), 'hex'), 32) || '"';
COMMENT ON FUNCTION service.etag(text) IS
    'Strong validator of a record: the first half of its SHA-256 (RFC 9110, section 8.8.3). Answer.etag in Swift makes the same.';

CREATE OR REPLACE FUNCTION service.is_record(p_body text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_body::json -> 'first_name' IS NOT NULL;
COMMENT ON FUNCTION service.is_record(text) IS
    'Whether the stored answer of a write to a customer is the record itself. That of a hold is the hold.';

CREATE OR REPLACE FUNCTION service.redacted_record(p_record text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT row_to_json(r)::text
    FROM (SELECT j ->> 'id' AS id,
                 '[redacted]' AS first_name,
                 '' AS last_name,
                 NULL::text AS email,
                 '' AS phone_number,
                 j ->> 'status' AS status,
                 j ->> 'customer_type' AS customer_type,
                 j -> 'last_spent' AS last_spent,
                 j ->> 'last_purchase_date' AS last_purchase_date,
                 j ->> 'appId' AS "appId",
                 j ->> 'createdAt' AS "createdAt",
                 j ->> 'updatedAt' AS "updatedAt"
          FROM (SELECT p_record::json AS j) AS parsed) AS r);
COMMENT ON FUNCTION service.redacted_record(text) IS
    'A rendered record without its personal data, all else digit by digit.';

CREATE OR REPLACE FUNCTION service.redacted(p_body text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN CASE
    WHEN p_body::json -> 'placed_by' IS NOT NULL THEN (
        SELECT row_to_json(r)::text
        FROM (SELECT j ->> 'customer_id' AS customer_id, '' AS reason, j ->> 'until' AS until,
                     j ->> 'placed_at' AS placed_at, j ->> 'placed_by' AS placed_by
              FROM (SELECT p_body::json AS j) AS parsed) AS r)
    WHEN p_body::json -> 'delete_at' IS NOT NULL THEN
        '{"customer":'
        || CASE json_typeof(p_body::json -> 'customer')
               WHEN 'object' THEN service.redacted_record((p_body::json -> 'customer')::text) ELSE 'null' END
        || ',"delete_at":' || (p_body::json -> 'delete_at')::text
        || ',"status":' || (p_body::json -> 'status')::text || '}'
    ELSE service.redacted_record(p_body) END;
COMMENT ON FUNCTION service.redacted(text) IS
    'The answer of a write to a customer, a record, a hold or a scheduled deletion, without its personal data.';

-- In PL/pgSQL, which keeps its plan: with a query in it, it can't be inlined.
CREATE OR REPLACE FUNCTION service.changed_members(p_before text, p_after text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(b.key ORDER BY b.key), '[]')
        FROM jsonb_each(p_before::jsonb) AS b
        JOIN jsonb_each(p_after::jsonb) AS a ON a.key = b.key
        WHERE a.value IS DISTINCT FROM b.value AND b.key <> 'updatedAt');
END
$$;
COMMENT ON FUNCTION service.changed_members(text, text) IS
    'Names of the members in which two records differ, for request.changes.';
