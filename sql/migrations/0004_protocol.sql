-- The protocol between the service and the database, docs/protocol.md:
--     admit → hold · the change · finish → append,     settle and recover for what went wrong in between.
--
-- Lock order everywhere: attempts by id → customer → chain heads by app, last.
-- All functions run as their owner with a pinned search_path: the service's role can do to these tables
-- what the functions do, and nothing else. Those that look rows up by key bar sequential scans: a plan that was kept
-- from when a table was tiny would read all of it once it has grown.

CREATE FUNCTION service.rfc3339(t timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (to_json(t AT TIME ZONE 'UTC') #>> '{}') || 'Z'
$$;
COMMENT ON FUNCTION service.rfc3339(timestamptz) IS
    'A time in UTC as RFC 3339 has it: no fraction when it is zero, else the digits that the database holds.';

CREATE TYPE service.customer_record AS (
    id                 uuid,
    first_name         text,
    last_name          text,
    email              text,
    phone_number       text,
    status             text,
    customer_type      text,
    last_spent         numeric(18,2),
    last_purchase_date text,
    "appId"            text,
    "createdAt"        text,
    "updatedAt"        text
);
COMMENT ON TYPE service.customer_record IS 'The members of a customer, in the order of the contract.';

-- The renderers are single expressions, so that the planner puts them into the query instead of planning them anew at
-- each call, which takes four times as long as the rest.
CREATE FUNCTION service.record(c public.customers) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT row_to_json(ROW(
        c.id,
        c.first_name,
        c.last_name,
        c.email,
        c.phone_number,
        c.status,
        c.customer_type,
        c.last_spent,
        service.rfc3339(c.last_purchase_date),
        'app_' || c.app_id,
        service.rfc3339(c.created_at),
        service.rfc3339(c.updated_at))::service.customer_record)::text
$$;
COMMENT ON FUNCTION service.record(public.customers) IS
    'A customer as the API renders it, members in the order of the contract, numeric digit by digit. The only renderer.';

CREATE FUNCTION service.is_reference_to_customers(p_schema text, p_table text, p_constraint text) RETURNS boolean
LANGUAGE sql STABLE AS $$
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
    'Whether a constraint that failed is a foreign key on customers, so that only such a failure is told as a refusal.';

-- 1. Admission ---------------------------------------------------------------------------------------------------

CREATE FUNCTION service.open_attempt(
    p_app_id           uuid,
    p_key_id           uuid,
    p_attempt_id       uuid,
    p_idempotency_key  uuid,
    p_fingerprint      bytea,
    p_lease_expires_at timestamptz,
    p_ttl              interval,
    p_entry            jsonb,
    OUT verdict     text,
    OUT retry_after int,
    OUT fence       int,
    OUT attempt_id  uuid,
    OUT has_entry   boolean,
    OUT outcome     text,
    OUT status_code int,
    OUT body        text,
    OUT customer_id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_now     timestamptz := clock_timestamp();
    v_attempt service.attempts;
BEGIN
    -- Was it asked before? Never waits on an attempt's row: a plain read first, an insert only where none was seen,
    -- and a take-over only of what nobody has locked.
    FOR v_round IN 1 .. 5 LOOP
        SELECT * INTO v_attempt
        FROM service.attempts AS a
        WHERE a.app_id = p_app_id AND a.idempotency_key = p_idempotency_key AND a.is_current;
        IF NOT FOUND THEN
            INSERT INTO service.attempts
                (app_id, attempt_id, key_id, idempotency_key, fingerprint, lease_expires_at, ttl, entry)
            VALUES (p_app_id, p_attempt_id, p_key_id, p_idempotency_key, p_fingerprint,
                    p_lease_expires_at, p_ttl, p_entry)
            ON CONFLICT DO NOTHING
            RETURNING attempts.fence, attempts.attempt_id INTO fence, attempt_id;
            IF FOUND THEN
                verdict := 'RUN';
                RETURN;
            END IF;
            -- Either our own admission came through before, or somebody has just taken the key.
            SELECT * INTO v_attempt
            FROM service.attempts AS a
            WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id;
            CONTINUE WHEN NOT FOUND;
        END IF;

        attempt_id := v_attempt.attempt_id;
        IF v_attempt.expires_at <= v_now THEN
            -- Its time is over: the key is free again.
            DELETE FROM service.attempts AS a
            USING (SELECT o.app_id, o.attempt_id
                   FROM service.attempts AS o
                   WHERE o.app_id = v_attempt.app_id AND o.attempt_id = v_attempt.attempt_id
                   FOR UPDATE SKIP LOCKED) AS old
            WHERE a.app_id = old.app_id AND a.attempt_id = old.attempt_id;
        ELSIF v_attempt.fingerprint <> p_fingerprint THEN
            verdict := 'MISMATCH';
            RETURN;
        ELSIF v_attempt.outcome IS NULL AND v_attempt.attempt_id = p_attempt_id THEN
            -- Our own admission, whose answer was lost on the way.
            verdict := 'RUN';
            fence := v_attempt.fence;
            RETURN;
        ELSIF v_attempt.outcome IS NOT NULL THEN
            verdict := 'REPLAY';
            has_entry := v_attempt.entry_seq IS NOT NULL;
            outcome := v_attempt.outcome;
            status_code := v_attempt.status_code;
            body := v_attempt.body;
            customer_id := (v_attempt.entry ->> 'customer_id')::uuid;
            RETURN;
        ELSIF v_attempt.lease_expires_at > v_now THEN
            verdict := 'RUNNING';
            retry_after := greatest(1, ceil(extract(epoch FROM v_attempt.lease_expires_at - v_now)));
            RETURN;
        ELSE
            SELECT * INTO v_attempt
            FROM service.attempts AS a
            WHERE a.app_id = v_attempt.app_id AND a.attempt_id = v_attempt.attempt_id
            FOR UPDATE SKIP LOCKED;
            IF NOT FOUND THEN
                EXIT;
            END IF;
            -- Whoever ran it is gone or has overslept: raise the fence, free the key. Recovery writes its entry.
            UPDATE service.attempts AS a
            SET fence = a.fence + 1, outcome = 'INTERRUPTED', finished_at = v_now, is_current = false
            WHERE a.app_id = v_attempt.app_id AND a.attempt_id = v_attempt.attempt_id
              AND a.outcome IS NULL AND a.lease_expires_at <= v_now;
        END IF;
    END LOOP;
    verdict := 'RUNNING';
    retry_after := 1;
END
$$;
COMMENT ON FUNCTION service.open_attempt IS
    'The entrance of idempotency. RUN: go on, the attempt is yours. REPLAY: here is the stored answer. MISMATCH: the key was used for another request. RUNNING: the first request still runs.';

CREATE FUNCTION service.admit(
    p_client_key      text,
    p_secret_digest   bytea,
    p_permissions     text[],
    p_cost            int,
    p_rate_limit      int,
    p_rate_window     interval,
    p_is_valid        boolean,
    p_attempt_id      uuid,
    p_idempotency_key uuid,
    p_fingerprint     bytea,
    p_lease           interval,
    p_ttl             interval,
    p_entry           jsonb,
    p_address         text,
    OUT verdict          text,
    OUT is_recorded      boolean,
    OUT app_id           uuid,
    OUT key_id           uuid,
    OUT client_key       text,
    OUT key_name         text,
    OUT key_role         text,
    OUT rate_remaining   int,
    OUT rate_reset       bigint,
    OUT retry_after      int,
    OUT fence            int,
    OUT attempt_id       uuid,
    OUT has_entry        boolean,
    OUT outcome          text,
    OUT status_code      int,
    OUT body             text,
    OUT customer_id      uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    c_strangers      CONSTANT uuid  := '00000000-0000-0000-0000-000000000000';
    c_nobody         CONSTANT bytea := decode(repeat('00', 32), 'hex');
    c_single_401s    CONSTANT int   := 20;
    c_single_429s    CONSTANT int   := 100;
    v_now            timestamptz    := clock_timestamp();
    v_nonce          bytea          := uuid_send(gen_random_uuid());
    v_matches        boolean;
    v_key            service.api_keys;
    v_window         service.rate_windows;
BEGIN
    -- WAL is one sequence: when the unit of work is durable, this is too. On its own it needn't be.
    PERFORM set_config('synchronous_commit', 'off', true);
    is_recorded := p_attempt_id IS NOT NULL;

    -- Who is it? The same work whether the key exists or not; digests compared under a nonce, so that the time
    -- a comparison takes says nothing about them.
    SELECT * INTO v_key FROM service.api_keys AS k WHERE k.client_key = p_client_key;
    v_matches := sha256(v_nonce || coalesce(v_key.secret_digest, c_nobody)) = sha256(v_nonce || p_secret_digest);
    v_matches := (sha256(v_nonce || coalesce(v_key.previous_secret_digest, c_nobody)) = sha256(v_nonce || p_secret_digest)
                  AND coalesce(v_key.previous_secret_expires_at > v_now, false))
                 OR v_matches;
    client_key := v_key.client_key;
    IF v_key.id IS NULL OR NOT v_matches OR v_key.revoked_at IS NOT NULL
       OR coalesce(v_key.expires_at <= v_now, false) THEN
        verdict := 'UNAUTHENTICATED';
        app_id := c_strangers;
        IF is_recorded THEN
            INSERT INTO service.floods AS f
                (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
            VALUES (c_strangers, 'UNAUTHENTICATED', p_address,
                    date_trunc('minute', v_now), date_trunc('minute', v_now) + interval '1 minute', 1, 0, p_entry)
            ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
                SET counted = f.counted + 1,
                    folded = f.folded + (f.counted >= c_single_401s)::int,
                    entry = CASE WHEN f.counted >= c_single_401s THEN excluded.entry ELSE f.entry END
            RETURNING f.folded = 0 INTO is_recorded;
        END IF;
        RETURN;
    END IF;
    app_id := v_key.app_id;
    key_id := v_key.id;
    key_name := v_key.name;
    key_role := v_key.role;

    -- May it go on now? One atomic UPSERT: exact, for any number of instances.
    INSERT INTO service.rate_windows AS w (app_id, key_id, opened_at, spent, refused, was_granted, last_used_at)
    VALUES (v_key.app_id, v_key.id, v_now,
            CASE WHEN p_cost <= p_rate_limit THEN p_cost ELSE 0 END,
            (p_cost > p_rate_limit)::int, p_cost <= p_rate_limit, v_now)
    ON CONFLICT ON CONSTRAINT rate_windows_pkey DO UPDATE
        SET opened_at = CASE WHEN w.opened_at + p_rate_window <= v_now THEN v_now ELSE w.opened_at END,
            spent = CASE WHEN w.opened_at + p_rate_window <= v_now THEN excluded.spent
                         WHEN w.spent + p_cost <= p_rate_limit THEN w.spent + p_cost
                         ELSE w.spent END,
            refused = CASE WHEN w.opened_at + p_rate_window <= v_now THEN excluded.refused
                           WHEN w.spent + p_cost <= p_rate_limit THEN w.refused
                           ELSE w.refused + 1 END,
            was_granted = CASE WHEN w.opened_at + p_rate_window <= v_now THEN excluded.was_granted
                               ELSE w.spent + p_cost <= p_rate_limit END,
            last_used_at = v_now
    RETURNING * INTO v_window;
    rate_remaining := greatest(p_rate_limit - v_window.spent, 0);
    rate_reset := ceil(extract(epoch FROM v_window.opened_at + p_rate_window));
    IF NOT v_window.was_granted THEN
        verdict := 'RATE_LIMITED';
        retry_after := greatest(1, ceil(extract(epoch FROM v_window.opened_at + p_rate_window - v_now)));
        IF is_recorded AND v_window.refused > c_single_429s THEN
            is_recorded := false;
            INSERT INTO service.floods AS f
                (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
            VALUES (v_key.app_id, 'RATE_LIMITED', v_key.id::text,
                    v_window.opened_at, v_window.opened_at + p_rate_window, v_window.refused, 1,
                    p_entry || jsonb_build_object(
                        'actor_key_id', v_key.id, 'actor_client_key', v_key.client_key,
                        'actor_name', v_key.name, 'actor_role', v_key.role))
            ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
                SET counted = excluded.counted, folded = f.folded + 1, entry = excluded.entry;
        END IF;
        RETURN;
    END IF;

    IF NOT (SELECT bool_and(service.permits(v_key.role, p.permission)) FROM unnest(p_permissions) AS p (permission)) THEN
        verdict := 'FORBIDDEN';
        RETURN;
    END IF;
    IF NOT p_is_valid THEN
        verdict := 'INVALID';
        RETURN;
    END IF;
    IF p_attempt_id IS NULL THEN
        verdict := 'ADMITTED';
        RETURN;
    END IF;

    SELECT o.verdict, o.retry_after, o.fence, o.attempt_id, o.has_entry, o.outcome, o.status_code, o.body, o.customer_id
    INTO verdict, retry_after, fence, attempt_id, has_entry, outcome, status_code, body, customer_id
    FROM service.open_attempt(
        v_key.app_id, v_key.id, p_attempt_id, p_idempotency_key, p_fingerprint, clock_timestamp() + p_lease, p_ttl,
        p_entry || jsonb_build_object(
            'app_id', v_key.app_id,
            'actor_key_id', v_key.id, 'actor_client_key', v_key.client_key,
            'actor_name', v_key.name, 'actor_role', v_key.role)) AS o;
END
$$;
COMMENT ON FUNCTION service.admit IS
    'One round trip decides whether a request may go on: key, rate, permission, validity, idempotency, the first that fails. A write that may go on has its attempt row.';

-- 2. The unit of work --------------------------------------------------------------------------------------------

CREATE FUNCTION service.hold(p_app_id uuid, p_attempt_id uuid, p_fence int, p_budget_ms int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_trace text;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true),
            set_config('statement_timeout', p_budget_ms::text, true),
            set_config('lock_timeout', (p_budget_ms / 2)::text, true);
    SELECT a.entry -> 'request' -> 'headers' ->> 'traceparent' INTO v_trace
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id AND a.fence = p_fence AND a.outcome IS NULL
    FOR UPDATE;
    IF NOT FOUND THEN
        -- It must raise: in a pipeline a statement that found no row wouldn't stop the COMMIT behind it.
        RAISE EXCEPTION 'the attempt is no longer held under this fence' USING ERRCODE = 'CD001';
    END IF;
    -- pg_stat_activity and the server's log then say whose trace the transaction is part of (W3C Trace Context).
    IF v_trace ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' THEN
        PERFORM set_config('application_name', 'customerd/' || substr(v_trace, 4, 49), true);
    END IF;
END
$$;
COMMENT ON FUNCTION service.hold IS
    'Opens a unit of work: locks its attempt, and raises CD001 unless it still runs under this fence, so that a stalled request whose lease was taken over can never commit.';

CREATE FUNCTION service.finish(
    p_app_id uuid, p_attempt_id uuid, p_outcome text, p_status_code int, p_body text, p_before_image text,
    p_entry jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
BEGIN
    UPDATE service.attempts AS a
    SET outcome = p_outcome, status_code = p_status_code, body = p_body, before_image = p_before_image,
        finished_at = clock_timestamp(),
        entry = CASE WHEN p_entry = '{}' THEN a.entry
                     ELSE a.entry || p_entry || jsonb_build_object(
                         'request', coalesce(a.entry -> 'request', '{}') || coalesce(p_entry -> 'request', '{}')) END
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id AND a.outcome IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the attempt is already finished' USING ERRCODE = 'CD002';
    END IF;
    IF p_outcome = 'NOT_FOUND' AND EXISTS (
        SELECT
        FROM service.attempts AS a
        JOIN public.customers AS c ON c.app_id = a.app_id AND c.id = (a.entry ->> 'customer_id')::uuid
        WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id AND a.entry ->> 'action' = 'customer.delete')
    THEN
        RAISE EXCEPTION 'nothing was deleted, but the customer is there: a trigger or a policy keeps it'
            USING ERRCODE = 'CD003';
    END IF;
END
$$;
COMMENT ON FUNCTION service.finish IS
    'The receipt: the finished answer, in the same transaction as the change it answers for. p_entry adds to the audit entry what only the change knows.';

CREATE FUNCTION service.settle(
    p_app_id uuid, p_attempt_id uuid, p_fence int, p_budget_ms int,
    OUT state text, OUT fence int, OUT outcome text, OUT status_code int, OUT body text, OUT before_image text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_attempt service.attempts;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true),
            set_config('lock_timeout', p_budget_ms::text, true);
    -- Under the lock, never by a plain read: a backend may sit inside COMMIT, unseen, and commit afterwards.
    SELECT * INTO v_attempt
    FROM service.attempts AS a
    WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
    FOR UPDATE;
    IF v_attempt.outcome IS NOT NULL THEN
        state := 'FINISHED';
        outcome := v_attempt.outcome;
        status_code := v_attempt.status_code;
        body := v_attempt.body;
        before_image := v_attempt.before_image;
    ELSIF v_attempt.fence = p_fence THEN
        UPDATE service.attempts AS a
        SET fence = a.fence + 1
        WHERE a.app_id = p_app_id AND a.attempt_id = p_attempt_id
        RETURNING a.fence INTO fence;
        state := 'OPEN';
    ELSE
        state := 'LOST';
    END IF;
END
$$;
COMMENT ON FUNCTION service.settle IS
    'Settles a COMMIT in doubt. FINISHED: it committed, here is the receipt. OPEN: it didn''t and, the fence being raised, never will; go on under the new fence. LOST: somebody else took the attempt.';

-- 3. The audit entry ---------------------------------------------------------------------------------------------

CREATE FUNCTION service.lock_head(p_app_id uuid) RETURNS audit.heads
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    c_genesis CONSTANT bytea := decode(repeat('00', 32), 'hex');
    v_head    audit.heads;
BEGIN
    LOOP
        SELECT * INTO v_head FROM audit.heads AS h WHERE h.app_id = p_app_id FOR UPDATE;
        IF FOUND THEN
            RETURN v_head;
        END IF;
        -- A chain that begins just now: whoever else begins it is waited for here.
        INSERT INTO audit.heads (app_id, seq, hash) VALUES (p_app_id, 0, c_genesis) ON CONFLICT DO NOTHING;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.lock_head(uuid) IS 'The head of a chain under its lock, made where the chain has none yet.';

-- In PL/pgSQL, which keeps its plan: a function in SQL that can't become part of its caller is planned at every call,
-- which took a quarter of an append.
CREATE FUNCTION service.lock_attempts(p_entries jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SET enable_seqscan = off AS $$
BEGIN
    PERFORM
    FROM service.attempts AS a
    JOIN jsonb_array_elements(p_entries) AS item
      ON a.app_id = (item ->> 'app_id')::uuid AND a.attempt_id = (item ->> 'id')::uuid
    WHERE (item ->> 'is_attempt')::boolean
    ORDER BY a.app_id, a.attempt_id
    FOR UPDATE OF a;
END
$$;
COMMENT ON FUNCTION service.lock_attempts(jsonb) IS 'Locks the attempts of a group of entries, by id.';

CREATE FUNCTION service.append_group(p_entries jsonb)
RETURNS TABLE (id uuid, seq bigint, outcome text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_head    audit.heads;
    v_item    jsonb;
    v_attempt service.attempts;
    v_entry   audit.entries;
    v_app_id  uuid;
BEGIN
    PERFORM set_config('synchronous_commit', 'on', true);
    PERFORM service.lock_attempts(p_entries);

    FOR v_app_id IN
        SELECT DISTINCT (item ->> 'app_id')::uuid FROM jsonb_array_elements(p_entries) AS item ORDER BY 1
    LOOP
        v_head := service.lock_head(v_app_id);

        FOR v_item IN
            SELECT item
            FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS e (item, position)
            WHERE (item ->> 'app_id')::uuid = v_app_id
            ORDER BY position
        LOOP
            v_attempt := NULL;
            IF (v_item ->> 'is_attempt')::boolean THEN
                SELECT * INTO v_attempt
                FROM service.attempts AS a
                WHERE a.app_id = v_app_id AND a.attempt_id = (v_item ->> 'id')::uuid;
                -- Purged, or taken over before it had an outcome: not for this caller to write.
                CONTINUE WHEN NOT FOUND;
                CONTINUE WHEN v_attempt.outcome IS NULL
                          AND (v_attempt.fence <> (v_item ->> 'fence')::int OR v_item ->> 'outcome' IS NULL);
                IF v_attempt.outcome IS NULL THEN
                    v_attempt.outcome := v_item ->> 'outcome';
                    v_attempt.status_code := (v_item ->> 'status_code')::int;
                    v_attempt.body := v_item ->> 'body';
                    v_attempt.before_image := v_item ->> 'before_image';
                    v_attempt.failure := v_item -> 'failure';
                    v_attempt.finished_at := clock_timestamp();
                    v_attempt.is_current := v_attempt.body IS NOT NULL;
                END IF;
                v_item := v_attempt.entry
                    || jsonb_build_object(
                        'id', v_attempt.attempt_id,
                        'outcome', v_attempt.outcome,
                        'status_code', v_attempt.status_code,
                        'before_image', v_attempt.before_image::jsonb)
                    || coalesce(v_attempt.failure, '{}');
            END IF;

            -- Appending is repeatable: what is there is only reported.
            SELECT e.id, e.seq, e.outcome INTO id, seq, outcome
            FROM audit.entries AS e
            WHERE e.id = (v_item ->> 'id')::uuid;
            IF NOT FOUND THEN
                v_entry := jsonb_populate_record(NULL::audit.entries, v_item);
                v_entry.app_id := v_app_id;
                -- What began before a redaction must not bring back what it erased.
                IF v_item ? 'is_redacted' OR EXISTS (
                    SELECT
                    FROM service.redactions AS r
                    WHERE r.app_id = v_app_id AND r.customer_id = v_entry.customer_id
                      AND r.redacted_at > v_entry.occurred_at AND v_entry.action <> 'customer.redact') THEN
                    v_entry.before_image := NULL;
                    v_entry.reason := NULL;
                    v_entry.error_message := NULL;
                    v_attempt.before_image := NULL;
                    v_attempt.failure := v_attempt.failure - 'error_message';
                    v_attempt.entry := v_attempt.entry - 'reason';
                END IF;
                v_entry.seq := v_head.seq + 1;
                v_entry.recorded_at := clock_timestamp();
                v_entry.subject_salt := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
                v_entry.context_salt := uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());
                v_entry.subject_commitment := audit.hmac_sha256(v_entry.subject_salt, audit.subject(v_entry));
                v_entry.context_commitment := audit.hmac_sha256(v_entry.context_salt, audit.context(v_entry));
                v_entry.previous_hash := v_head.hash;
                v_entry.hash := audit.hash(v_entry);
                INSERT INTO audit.entries SELECT (v_entry).*;
                v_head.seq := v_entry.seq;
                v_head.hash := v_entry.hash;
                id := v_entry.id;
                seq := v_entry.seq;
                outcome := v_entry.outcome;
            END IF;
            IF v_attempt.attempt_id IS NOT NULL AND v_attempt.entry_seq IS NULL THEN
                UPDATE service.attempts AS a
                SET entry = v_attempt.entry, outcome = v_attempt.outcome, status_code = v_attempt.status_code,
                    body = v_attempt.body, before_image = v_attempt.before_image, failure = v_attempt.failure,
                    finished_at = v_attempt.finished_at, is_current = v_attempt.is_current,
                    entry_seq = append_group.seq,
                    expires_at = v_attempt.finished_at
                        + CASE WHEN v_attempt.outcome = 'INTERRUPTED' THEN interval '0' ELSE a.ttl END
                WHERE a.app_id = v_app_id AND a.attempt_id = v_attempt.attempt_id;
            END IF;
            RETURN NEXT;
        END LOOP;

        UPDATE audit.heads AS h SET seq = v_head.seq, hash = v_head.hash WHERE h.app_id = v_app_id;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.append_group IS
    'The only writer of audit.entries. Takes a JSON array; an element with is_attempt is completed from its attempt row, others are whole. Repeating it is harmless.';

CREATE FUNCTION service.append(p_entries jsonb)
RETURNS TABLE (id uuid, seq bigint, outcome text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    c_kept CONSTANT text[] := '{app_id,id,is_attempt,fence,occurred_at,action,outcome,status_code,body,actor_key_id}';
    v_item jsonb;
BEGIN
    BEGIN
        RETURN QUERY SELECT * FROM service.append_group(p_entries);
        RETURN;
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
        NULL;  -- Somebody in the group is poisoned: the others mustn't suffer.
    END;
    -- One by one, but in the lock order all the same: all attempts before any chain, and chains by app.
    PERFORM service.lock_attempts(p_entries);
    FOR v_item IN
        SELECT item
        FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS e (item, position)
        ORDER BY (item ->> 'app_id')::uuid, position
    LOOP
        BEGIN
            RETURN QUERY SELECT * FROM service.append_group(jsonb_build_array(v_item));
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR program_limit_exceeded THEN
            UPDATE service.attempts AS a
            SET entry = (SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each(a.entry) AS m WHERE m.key = ANY (c_kept))
            WHERE (v_item ->> 'is_attempt')::boolean
              AND a.app_id = (v_item ->> 'app_id')::uuid AND a.attempt_id = (v_item ->> 'id')::uuid;
            RETURN QUERY
            SELECT *
            FROM service.append_group(jsonb_build_array(
                (SELECT jsonb_object_agg(m.key, m.value) FROM jsonb_each(v_item) AS m WHERE m.key = ANY (c_kept))
                || jsonb_build_object('error_message', 'the entry could not be stored in full, SQLSTATE ' || SQLSTATE)));
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION service.append IS
    'Appends a group of entries, live and in recovery: as a whole, or one by one when one of them is poisoned, that one in a minimal form.';

-- 4. Recovery ----------------------------------------------------------------------------------------------------

CREATE FUNCTION service.release(p_attempts uuid[]) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    UPDATE service.attempts AS a
    SET lease_expires_at = least(a.lease_expires_at, clock_timestamp())
    FROM (SELECT o.app_id, o.attempt_id
          FROM service.attempts AS o
          WHERE o.entry_seq IS NULL AND o.attempt_id = ANY (p_attempts)
          ORDER BY o.app_id, o.attempt_id
          FOR UPDATE SKIP LOCKED) AS unheld
    WHERE a.app_id = unheld.app_id AND a.attempt_id = unheld.attempt_id
    RETURNING a.attempt_id
$$;
COMMENT ON FUNCTION service.release IS
    'Ends the leases of attempts that their instance gave up without knowing their end, so that recovery or a retry takes them over at once. Skips those that a transaction still holds. Returns the others.';

CREATE FUNCTION service.recover(p_limit int, OUT completed int, OUT interrupted int, OUT folded int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    v_attempt service.attempts;
    v_flood   service.floods;
    v_entries jsonb;
    v_now     timestamptz := clock_timestamp();
BEGIN
    completed := 0;
    interrupted := 0;
    folded := 0;
    FOR v_attempt IN
        SELECT *
        FROM service.attempts AS a
        WHERE a.entry_seq IS NULL AND a.lease_expires_at < v_now
        ORDER BY a.app_id, a.attempt_id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    LOOP
        IF v_attempt.outcome IS NULL THEN
            UPDATE service.attempts AS a
            SET fence = a.fence + 1, outcome = 'INTERRUPTED', finished_at = v_now, is_current = false
            WHERE a.app_id = v_attempt.app_id AND a.attempt_id = v_attempt.attempt_id;
            interrupted := interrupted + 1;
        ELSE
            completed := completed + 1;
        END IF;
    END LOOP;
    SELECT coalesce(jsonb_agg(
               jsonb_build_object('app_id', a.app_id, 'id', a.attempt_id, 'is_attempt', true)
               ORDER BY a.finished_at), '[]')
    INTO v_entries
    FROM (SELECT o.app_id, o.attempt_id, o.finished_at
          FROM service.attempts AS o
          WHERE o.entry_seq IS NULL AND o.lease_expires_at < v_now AND o.outcome IS NOT NULL
          ORDER BY o.app_id, o.attempt_id
          LIMIT p_limit
          FOR UPDATE SKIP LOCKED) AS a;

    FOR v_flood IN
        DELETE FROM service.floods AS f
        USING (SELECT o.app_id, o.kind, o.subject, o.opened_at
               FROM service.floods AS o
               WHERE o.closes_at < v_now - interval '1 second'
               LIMIT p_limit
               FOR UPDATE SKIP LOCKED) AS closed
        WHERE (f.app_id, f.kind, f.subject, f.opened_at)
            = (closed.app_id, closed.kind, closed.subject, closed.opened_at)
        RETURNING f.*
    LOOP
        CONTINUE WHEN v_flood.folded = 0;
        folded := folded + 1;
        v_entries := v_entries || jsonb_build_array(
            (v_flood.entry - '{customer_id,idempotency_key,reason,actor_claimed,request_id}'::text[])
            || jsonb_build_object(
                'app_id', v_flood.app_id,
                'id', v_flood.entry_id,
                'outcome', v_flood.kind,
                'status_code', CASE v_flood.kind WHEN 'UNAUTHENTICATED' THEN 401 ELSE 429 END,
                'request', (v_flood.entry -> 'request') || jsonb_build_object('folded', v_flood.folded)));
    END LOOP;
    -- All at once, for chains come last and are locked by app.
    IF v_entries <> '[]' THEN
        PERFORM service.append(v_entries);
    END IF;
END
$$;
COMMENT ON FUNCTION service.recover IS
    'Finishes what nobody finishes any more: receipts without entry are completed, attempts past their lease end as INTERRUPTED and free their key, closed floods are folded. Any instance, any time, two at once harmless.';

CREATE FUNCTION service.purge(p_limit int) RETURNS bigint
-- The planner doesn't know how few rows the limit leaves, and would join them with the whole table.
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH purged AS (
        DELETE FROM service.attempts AS a
        USING (SELECT o.app_id, o.attempt_id
               FROM service.attempts AS o
               -- clock_timestamp() is volatile, and no condition for an index.
               WHERE o.expires_at < statement_timestamp()
               LIMIT p_limit
               FOR UPDATE SKIP LOCKED) AS old
        WHERE a.app_id = old.app_id AND a.attempt_id = old.attempt_id
        RETURNING 1)
    SELECT count(*) FROM purged
$$;
COMMENT ON FUNCTION service.purge IS 'Forgets answers whose time is over, never one that still lacks its audit entry.';

CREATE FUNCTION service.audit_lag(OUT attempts bigint, OUT seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
    SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(a.finished_at)), 0)
    FROM service.attempts AS a
    WHERE a.entry_seq IS NULL AND a.finished_at IS NOT NULL
$$;
COMMENT ON FUNCTION service.audit_lag IS
    'How many finished attempts lack their audit entry, and for how many seconds the oldest has.';
