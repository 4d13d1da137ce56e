-- Authorization, the first part of step 1: key → rate → permission → validity; the first check that fails answers.
--
-- Called for every request, before anything else: by a read itself, for a write by service.admit.
-- Locks, in this order: the key's rate window, or the rows of service.floods. Commits asynchronously.

CREATE OR REPLACE FUNCTION service.permissions(p_role text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_role
    WHEN 'viewer' THEN '{customers:read}'::text[]
    WHEN 'editor' THEN '{customers:read,customers:write}'::text[]
    WHEN 'admin' THEN
        '{customers:read,customers:write,customers:delete,customers:restore,audit:read,webhooks:manage}'::text[]
    WHEN 'auditor' THEN '{audit:read}'::text[]
    ELSE '{}'::text[] END;
COMMENT ON FUNCTION service.permissions(text) IS 'What a role may do.';

CREATE OR REPLACE FUNCTION service.permits(p_role text, p_permissions text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cardinality(p_permissions) > 0 AND p_permissions <@ ('any'::text || service.permissions(p_role));
COMMENT ON FUNCTION service.permits(text, text[]) IS
    'Whether a role holds all of these permissions; "any" is held by all. An empty list permits nothing.';

CREATE OR REPLACE FUNCTION service.permits(p_key service.api_keys, p_permissions text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN service.permits((p_key).role, p_permissions)
    AND ((p_key).permissions IS NULL OR p_permissions <@ ('any'::text || (p_key).permissions));
COMMENT ON FUNCTION service.permits(service.api_keys, text[]) IS
    'Whether a key has all of these permissions: its role holds them, and it wasn''t made with fewer.';

-- Called by GET /key.
CREATE OR REPLACE FUNCTION service.describe_key(p_app_id uuid, p_key_id uuid, p_switched_off text[]) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT row_to_json(described)::text
    FROM (SELECT k.client_key, k.name, k.role,
                 ARRAY(SELECT p.permission
                       FROM unnest(service.permissions(k.role)) WITH ORDINALITY AS p (permission, position)
                       WHERE service.permits(k, ARRAY[p.permission]) AND p.permission <> ALL (p_switched_off)
                       ORDER BY p.position) AS permissions,
                 'app_' || k.app_id AS "appId", service.rfc3339(k.expires_at) AS expires_at
          FROM service.api_keys AS k
          WHERE k.app_id = p_app_id AND k.id = p_key_id) AS described
$$;
COMMENT ON FUNCTION service.describe_key IS
    'What an API key is and may do, as the API renders it, without the permissions for which nothing is switched on.';

CREATE OR REPLACE FUNCTION service.actor(p_decision service.admission) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN jsonb_build_object(
    'actor_key_id', (p_decision).key_id,
    'actor_client_key', (p_decision).client_key,
    'actor_name', (p_decision).key_name,
    'actor_role', (p_decision).key_role);
COMMENT ON FUNCTION service.actor(service.admission) IS 'The members of an audit entry that name the API key.';

CREATE OR REPLACE FUNCTION service.flood_entry(p_entry jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_entry - '{customer_id,idempotency_key,reason,actor_claimed,request_id}'::text[];
COMMENT ON FUNCTION service.flood_entry(jsonb) IS
    'What a folded entry tells of the last attempt that it stands for: nothing that is of this one alone.';

CREATE OR REPLACE FUNCTION service.count_stranger(p_address text, p_entry jsonb, p_now timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_strangers   CONSTANT uuid        := '00000000-0000-0000-0000-000000000000';
    c_per_address CONSTANT int         := 20;
    c_altogether  CONSTANT int         := 600;
    v_opened_at   CONSTANT timestamptz := date_trunc('minute', p_now);
    v_limit       int;
    v_subject     text;
    v_counted     bigint;
BEGIN
    -- An address that had its number isn't counted among all. Else all addresses come first, since they are easily
    -- changed: once those together had theirs, no further address gets a row.
    FOR v_subject, v_limit IN
        SELECT s.subject, s.most
        FROM (VALUES (1, 'all addresses', c_altogether), (2, p_address, c_per_address)) AS s (position, subject, most)
        WHERE s.position = 2 OR NOT EXISTS (
            SELECT
            FROM service.floods AS f
            WHERE f.app_id = c_strangers AND f.kind = 'UNAUTHENTICATED' AND f.subject = p_address
              AND f.opened_at = v_opened_at AND f.counted >= c_per_address)
        ORDER BY s.position
    LOOP
        INSERT INTO service.floods AS f
            (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
        VALUES (c_strangers, 'UNAUTHENTICATED', v_subject, v_opened_at, v_opened_at + interval '1 minute', 1, 0,
                service.flood_entry(p_entry))
        ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
            SET counted = f.counted + 1,
                folded = f.folded + (f.counted >= v_limit)::int,
                entry = CASE WHEN f.counted >= v_limit THEN excluded.entry ELSE f.entry END
        RETURNING f.counted INTO v_counted;
        IF v_counted > v_limit THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION service.count_stranger IS
    'Counts a failed authentication. True if it gets an audit entry of its own; false if it was folded, because its address or all addresses together have had their number this minute.';

CREATE OR REPLACE FUNCTION service.fold_answered(p_folded jsonb) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO service.floods AS f
        (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
    SELECT i.app_id, k.kind, i.subject, w.opened_at, w.closes_at, sum(i.count), sum(i.count),
           (array_agg(service.flood_entry(i.entry) || jsonb_build_object('occurred_at', i.at) ORDER BY i.at DESC))[1]
    FROM (SELECT coalesce(j.app_id, '00000000-0000-0000-0000-000000000000') AS app_id, j.app_id IS NULL AS is_strange,
                 j.subject, j.at, j.count, j.entry
          FROM jsonb_to_recordset(p_folded)
              AS j (app_id uuid, subject text, at timestamptz, count bigint, entry jsonb)) AS i
    CROSS JOIN LATERAL (SELECT CASE WHEN i.is_strange THEN 'UNAUTHENTICATED' ELSE 'RATE_LIMITED' END AS kind) AS k
    -- The flood that the attempt belongs to. Where recovery has folded that already, one that has just begun and ended.
    LEFT JOIN LATERAL (
        SELECT o.opened_at, o.closes_at
        FROM service.floods AS o
        WHERE o.app_id = i.app_id AND o.kind = k.kind AND o.subject = i.subject AND o.closes_at > i.at
        ORDER BY o.opened_at
        LIMIT 1) AS known ON NOT i.is_strange
    CROSS JOIN LATERAL (
        SELECT CASE WHEN i.is_strange THEN date_trunc('minute', i.at) ELSE coalesce(known.opened_at, i.at) END,
               CASE WHEN i.is_strange THEN date_trunc('minute', i.at) + interval '1 minute'
                    ELSE coalesce(known.closes_at, i.at) END) AS w (opened_at, closes_at)
    GROUP BY i.app_id, k.kind, i.subject, w.opened_at, w.closes_at
    ORDER BY i.app_id, k.kind, i.subject, w.opened_at
    ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
        SET counted = f.counted + excluded.counted, folded = f.folded + excluded.folded, entry = excluded.entry
$$;
COMMENT ON FUNCTION service.fold_answered IS
    'Adds attempts that an instance answered without the database, since those of their address or key were being folded. Takes an array of {"app_id", "subject", "at", "count", "entry"}: an address without app_id, or a key with its app.';

CREATE OR REPLACE FUNCTION service.authorize(
    p_client_key    text,
    p_secret_digest bytea,
    p_permissions   text[],
    p_cost          int,
    p_rate_limit    int,
    p_rate_window   interval,
    p_is_valid      boolean,
    p_ip            inet,
    -- Of a write alone: the audit entry as far as the request makes it, and the address that a flood is counted by.
    p_entry         jsonb DEFAULT NULL,
    p_address       text DEFAULT NULL) RETURNS service.admission
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c_strangers   CONSTANT uuid  := '00000000-0000-0000-0000-000000000000';
    c_unknown     CONSTANT bytea := decode(repeat('00', 32), 'hex');
    c_single_429s CONSTANT int   := 100;
    v_now         timestamptz    := clock_timestamp();
    v_matches     boolean;
    v_key         service.api_keys;
    v_window      service.rate_windows;
    v_limit       int;
    v_cost        int;
    v_decision    service.admission;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    v_decision.decided_at := v_now;
    v_decision.is_recorded := p_entry IS NOT NULL;
    v_decision.is_elsewhere := false;
    v_decision.retry_after := 0;

    -- The same work whether the key exists or not. The digests are those of 256 random bits, so the time that comparing
    -- them takes reveals nothing of use.
    SELECT * INTO v_key FROM service.api_keys AS k WHERE k.client_key = p_client_key;
    v_matches := coalesce(v_key.secret_digest, c_unknown) = p_secret_digest;
    v_matches := (coalesce(v_key.previous_secret_digest, c_unknown) = p_secret_digest
                  AND coalesce(v_key.previous_secret_expires_at > v_now, false))
                 OR v_matches;
    v_decision.client_key := v_key.client_key;
    IF v_key.id IS NULL OR NOT v_matches OR v_key.revoked_at IS NOT NULL
       OR coalesce(v_key.expires_at <= v_now, false) THEN
        v_decision.verdict := 'UNAUTHENTICATED';
        v_decision.app_id := c_strangers;
        IF v_decision.is_recorded THEN
            v_decision.is_recorded := service.count_stranger(
                p_address, p_entry || jsonb_build_object('occurred_at', v_now), v_now);
            IF NOT v_decision.is_recorded THEN
                v_decision.retry_after := floor(
                    extract(epoch FROM date_trunc('minute', v_now) + interval '1 minute' - v_now));
            END IF;
        END IF;
        RETURN v_decision;
    END IF;
    v_decision.app_id := v_key.app_id;
    v_decision.key_id := v_key.id;
    v_decision.key_name := v_key.name;
    v_decision.key_role := v_key.role;

    v_limit := coalesce(v_key.rate_limit, p_rate_limit);
    -- What costs more than a window holds could never be granted: it is invalid, and spends one request as such.
    v_cost := CASE WHEN p_cost <= v_limit THEN p_cost ELSE 1 END;
    v_decision.rate_limit := v_limit;
    -- One atomic UPSERT: exact, for any number of instances. A window that opens in the future was opened before the
    -- clock stepped back, and is over. The clock is read under the row's lock: by v_now, a window that was opened while
    -- this request waited would open in the future, too.
    INSERT INTO service.rate_windows AS w (app_id, key_id, opened_at, spent, refused, was_granted, last_used_at)
    VALUES (v_key.app_id, v_key.id, v_now, v_cost, 0, true, v_now)
    ON CONFLICT ON CONSTRAINT rate_windows_pkey DO UPDATE
        SET (opened_at, spent, refused, was_granted, last_used_at) = (
            SELECT CASE WHEN is_over THEN now ELSE w.opened_at END,
                   CASE WHEN is_over THEN excluded.spent WHEN is_granted THEN w.spent + v_cost ELSE w.spent END,
                   CASE WHEN is_over THEN excluded.refused WHEN is_granted THEN w.refused ELSE w.refused + 1 END,
                   CASE WHEN is_over THEN excluded.was_granted ELSE is_granted END,
                   now
            FROM (SELECT w.opened_at + p_rate_window <= t.now OR w.opened_at > t.now AS is_over,
                         w.spent + v_cost <= v_limit AS is_granted, t.now
                  FROM (SELECT clock_timestamp() AS now OFFSET 0) AS t) AS state)
    RETURNING * INTO v_window;
    v_decision.rate_remaining := greatest(v_limit - v_window.spent, 0);
    v_decision.rate_reset := ceil(extract(epoch FROM v_window.opened_at + p_rate_window));
    IF NOT v_window.was_granted THEN
        v_decision.verdict := 'RATE_LIMITED';
        v_decision.retry_after :=
            greatest(1, ceil(extract(epoch FROM v_window.opened_at + p_rate_window - v_window.last_used_at)));
        IF v_decision.is_recorded AND v_window.refused > c_single_429s THEN
            v_decision.is_recorded := false;
            INSERT INTO service.floods AS f
                (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
            VALUES (v_key.app_id, 'RATE_LIMITED', v_key.id::text,
                    v_window.opened_at, v_window.opened_at + p_rate_window, v_window.refused, 1,
                    service.flood_entry(p_entry) || jsonb_build_object('occurred_at', v_now)
                        || service.actor(v_decision))
            ON CONFLICT ON CONSTRAINT floods_pkey DO UPDATE
                SET counted = f.counted + 1, folded = f.folded + 1, entry = excluded.entry;
        END IF;
    ELSIF NOT service.permits(v_key, p_permissions) THEN
        v_decision.verdict := 'FORBIDDEN';
    ELSIF NOT coalesce(p_ip <<= ANY (v_key.allowed_addresses), v_key.allowed_addresses IS NULL) THEN
        v_decision.verdict := 'FORBIDDEN';
        v_decision.is_elsewhere := true;
    ELSIF NOT p_is_valid OR p_cost > v_limit THEN
        v_decision.verdict := 'INVALID';
    ELSE
        v_decision.verdict := 'ADMITTED';
    END IF;
    RETURN v_decision;
END
$$;
COMMENT ON FUNCTION service.authorize IS
    'Decides about a request: key, rate, permission, validity, the first that fails. All that a read needs.';
