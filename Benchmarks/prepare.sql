-- What the benchmark needs besides the service's own schema. :app the app, :"service" the role that is measured.
CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO :"service";

CREATE FUNCTION bench.id(prefix text, n bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (prefix || '-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
$$;
COMMENT ON FUNCTION bench.id IS 'An identifier made from a number, as requests.lua makes it.';

CREATE FUNCTION bench.entry(id uuid, customer_id uuid, idempotency_key uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', id, 'occurred_at', clock_timestamp(), 'action', 'customer.delete', 'customer_id', customer_id,
        'actor_claimed', NULL, 'reason', NULL, 'ip', '127.0.0.1', 'user_agent', NULL,
        'request_id', gen_random_uuid(), 'idempotency_key', idempotency_key,
        'request', jsonb_build_object(
            'method', 'DELETE', 'path', '/api/v0/customers/' || customer_id, 'query', NULL,
            'headers', jsonb_build_object('host', '127.0.0.1:8080')))
$$;
COMMENT ON FUNCTION bench.entry IS 'The entry that the service hands over at admission.';

-- Customers that can be deleted (bec…) come by `bench.stock`; these have an invoice (bef…).
INSERT INTO public.customers (app_id, id, first_name, last_name, email, phone_number)
SELECT :'app', bench.id('bef00000', n), 'Given' || n, 'Family' || n, 'blocked' || n || '@example.com', '+4912345'
FROM generate_series(1, 1000) AS n;
INSERT INTO public.invoices (app_id, customer_id)
SELECT :'app', bench.id('bef00000', n) FROM generate_series(1, 1000) AS n;

CREATE PROCEDURE bench.stock(p_app uuid, p_from bigint, p_to bigint)
LANGUAGE sql AS $$
    INSERT INTO public.customers (app_id, id, first_name, last_name, email, phone_number)
    SELECT p_app, bench.id('bec00000', n), 'Given' || n, 'Family' || n, 'person' || n || '@example.com', '+4912345'
    FROM generate_series(p_from, p_to) AS n
    ON CONFLICT DO NOTHING
$$;
COMMENT ON PROCEDURE bench.stock IS 'Customers to delete, numbered from and to.';

-- Floor (b): everything that a deletion is, in one call and one commit.
CREATE FUNCTION bench.delete_at_once(
    p_app uuid, p_key text, p_digest bytea, p_attempt uuid, p_idempotency_key uuid, p_customer uuid) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_record text;
BEGIN
    PERFORM service.admit(
        p_key, p_digest, '{customers:delete}', 1, 1000000000, '60 s', true, p_attempt, p_idempotency_key,
        sha256(uuid_send(p_customer)), '15 s', '1 day', bench.entry(p_attempt, p_customer, p_idempotency_key),
        '127.0.0.1');
    PERFORM service.hold(p_app, p_attempt, 1, 5000);
    SELECT service.record(c) INTO v_record
    FROM public.customers AS c WHERE c.app_id = p_app AND c.id = p_customer FOR UPDATE;
    DELETE FROM public.customers AS c WHERE c.app_id = p_app AND c.id = p_customer;
    PERFORM service.finish(p_app, p_attempt, 'SUCCEEDED', 200, v_record, v_record);
    PERFORM service.append(
        jsonb_build_array(jsonb_build_object('id', p_attempt, 'app_id', p_app, 'is_attempt', true, 'fence', 1)));
    RETURN v_record;
END
$$;
COMMENT ON FUNCTION bench.delete_at_once IS 'A deletion as one call with one commit: what two commits can be measured against.';
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bench TO :"service";
