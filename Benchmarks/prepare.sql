-- What the benchmark needs besides the schema of the service. :app is the app, :"service" the role that is measured.
CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO :"service";

CREATE FUNCTION bench.id(prefix text, n bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (prefix || '-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid
$$;
COMMENT ON FUNCTION bench.id IS 'An identifier made from a number, as requests.lua makes it.';

CREATE FUNCTION bench.context(customer_id uuid) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'actor_claimed', NULL, 'reason', NULL, 'ip', '127.0.0.1', 'user_agent', NULL,
        'request_id', gen_random_uuid(),
        'request', jsonb_build_object(
            'method', 'DELETE', 'path', '/api/v0/customers/' || customer_id, 'query', NULL,
            'headers', jsonb_build_object('host', '127.0.0.1:8080')))
$$;
COMMENT ON FUNCTION bench.context IS 'What the service tells of a request at admission.';

-- Customers that can be deleted (bec…) come by `bench.stock`; these have an invoice (bef…).
INSERT INTO public.customers (app_id, id, first_name, last_name, email, phone_number)
SELECT :'app', bench.id('bef00000', n), 'Given' || n, 'Family' || n, 'blocked' || n || '@example.com', '+4912345'
FROM generate_series(1, 1000) AS n;
INSERT INTO public.invoices (app_id, customer_id)
SELECT :'app', bench.id('bef00000', n) FROM generate_series(1, 1000) AS n;

CREATE PROCEDURE bench.stock(p_apps uuid[], p_from bigint, p_to bigint)
LANGUAGE sql AS $$
    INSERT INTO public.customers (app_id, id, first_name, last_name, email, phone_number)
    SELECT p_apps[n % cardinality(p_apps) + 1], bench.id('bec00000', n), 'Given' || n, 'Family' || n, 'person' || n || '@example.com', '+4912345'
    FROM generate_series(p_from, p_to) AS n
    ON CONFLICT DO NOTHING
$$;
COMMENT ON PROCEDURE bench.stock IS 'Customers to delete, numbered from and to, of the apps in turn.';

CREATE PROCEDURE bench.populate(p_app uuid, p_from bigint, p_to bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_index  record;
    v_indexes text[] := '{}';
BEGIN
    PERFORM set_config('maintenance_work_mem', '1GB', true);
    -- Recreated afterwards: inserting ten million names one by one takes far longer.
    FOR v_index IN
        SELECT i.indexrelid::regclass AS name, pg_get_indexdef(i.indexrelid) AS definition
        FROM pg_index AS i
        WHERE i.indrelid = 'public.customers'::regclass
          AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conindid = i.indexrelid)
    LOOP
        v_indexes := v_indexes || v_index.definition;
        EXECUTE format('DROP INDEX %s', v_index.name);
    END LOOP;
    INSERT INTO public.customers (app_id, id, first_name, last_name, email, phone_number, created_at)
    SELECT p_app, gen_random_uuid(), 'Given' || n % 5000, 'Family' || n % 70000, 'inhabitant' || n || '@example.com',
           '+49' || n, now() - n * interval '1 second'
    FROM generate_series(p_from, p_to) AS n;
    FOR i IN 1 .. cardinality(v_indexes) LOOP
        EXECUTE v_indexes[i];
    END LOOP;
END
$$;
COMMENT ON PROCEDURE bench.populate IS 'Customers that are never deleted, many at a time.';

CREATE PROCEDURE bench.fill_trail(p_app uuid, p_count bigint)
LANGUAGE sql AS $$
    INSERT INTO audit.entries
        (seq, id, app_id, occurred_at, recorded_at, action, outcome, status_code, customer_id, before_image, actor_key_id,
         actor_client_key, actor_name, actor_role, ip, request_id, idempotency_key, request, previous_hash, hash,
         subject_commitment, context_commitment, subject_salt, context_salt)
    SELECT n / 100 + 1, gen_random_uuid(), bench.id('be9d0000', n % 100), e.occurred_at - n * interval '1 second',
           e.recorded_at - n * interval '1 second', e.action, e.outcome, e.status_code, bench.id('be9e0000', n),
           e.before_image, e.actor_key_id, e.actor_client_key, e.actor_name, e.actor_role, e.ip, e.request_id,
           gen_random_uuid(), e.request, e.previous_hash, e.hash, e.subject_commitment, e.context_commitment,
           e.subject_salt, e.context_salt
    FROM generate_series(1, p_count) AS n,
         (SELECT * FROM audit.entries AS o
          WHERE o.app_id = p_app AND o.outcome = 'SUCCEEDED' ORDER BY o.seq DESC LIMIT 1) AS e
$$;
COMMENT ON PROCEDURE bench.fill_trail IS
    'Entries of a hundred other apps, each like the last deletion of this one; their hashes are copies.';

CREATE FUNCTION bench.follow(e audit.entries) RETURNS audit.entries
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    e.seq := e.seq + 1;
    e.id := gen_random_uuid();
    e.customer_id := gen_random_uuid();
    e.occurred_at := e.occurred_at + interval '1 second';
    e.recorded_at := e.recorded_at + interval '1 second';
    e.previous_hash := e.hash;
    e.hash := audit.hash(e);
    RETURN e;
END
$$;
COMMENT ON FUNCTION bench.follow IS
    'The next entry of a chain, about another customer. It has the salts of the one before, so that its commitments hold, too.';

CREATE PROCEDURE bench.lengthen_chain(p_app uuid, p_size bigint)
LANGUAGE plpgsql AS $$
DECLARE
    c_at_once CONSTANT bigint := 400 * 256;
    v_last    audit.entries;
    v_end     bigint;
BEGIN
    SELECT e.* INTO v_last FROM audit.entries AS e WHERE e.app_id = p_app ORDER BY e.seq DESC LIMIT 1;
    WHILE v_last.seq < p_size LOOP
        v_end := least((v_last.seq / c_at_once + 1) * c_at_once, p_size);
        WITH RECURSIVE chain (entry) AS (
            SELECT v_last
            UNION ALL
            SELECT bench.follow(chain.entry)
            FROM chain
            WHERE (chain.entry).seq < v_end
        )
        INSERT INTO audit.entries SELECT (chain.entry).* FROM chain OFFSET 1;
        PERFORM service.fold_tiles(p_app, tile.last)
        FROM generate_series((v_last.seq / 256 + 1) * 256, v_end, 256) AS tile (last);
        SELECT e.* INTO v_last FROM audit.entries AS e WHERE e.app_id = p_app AND e.seq = v_end;
        UPDATE audit.heads AS h SET seq = v_last.seq, hash = v_last.hash WHERE h.app_id = p_app;
        COMMIT;
    END LOOP;
END
$$;
COMMENT ON PROCEDURE bench.lengthen_chain IS
    'A true chain of so many entries, with its tree: each entry like the last one, hashed onto the one before.';

-- Floor (b): a complete deletion in one call and one commit.
CREATE FUNCTION bench.delete_at_once(
    p_app uuid, p_key text, p_digest bytea, p_attempt uuid, p_idempotency_key uuid, p_customer uuid) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_record text;
    v_image  text;
BEGIN
    PERFORM service.admit(
        p_key, p_digest, '{customers:delete}', 1, 1000000000, '60 s', true, p_attempt, 'customer.delete', p_customer,
        p_idempotency_key, sha256(uuid_send(p_customer)), '15 s', '1 day', bench.context(p_customer), '127.0.0.1');
    PERFORM service.enter(p_app, p_attempt, 1, 5000);
    SELECT service.record(c), service.image(c) INTO v_record, v_image
    FROM public.customers AS c WHERE c.app_id = p_app AND c.id = p_customer FOR UPDATE;
    DELETE FROM public.customers AS c WHERE c.app_id = p_app AND c.id = p_customer;
    PERFORM service.finish(p_app, p_attempt, 'SUCCEEDED', v_record, v_image);
    PERFORM service.append(
        p_app, jsonb_build_array(jsonb_build_object('id', p_attempt, 'is_attempt', true, 'fence', 1)));
    RETURN v_record;
END
$$;
COMMENT ON FUNCTION bench.delete_at_once IS 'A deletion as one call with one commit: what two commits can be measured against.';
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA bench TO :"service";
