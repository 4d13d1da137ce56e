-- The audit trail: one chain of entries an app, append-only, each entry hashed onto the one before.
-- docs/audit-chain.md specifies the canonical form so that anybody can write a second verifier.

CREATE SCHEMA audit;
COMMENT ON SCHEMA audit IS 'The audit trail and its views. Read by auditors, written by service.append alone.';

CREATE TABLE audit.entries (
    seq                bigint      NOT NULL,
    id                 uuid        NOT NULL,
    app_id             uuid        NOT NULL,
    occurred_at        timestamptz NOT NULL,
    recorded_at        timestamptz NOT NULL,
    action             text        NOT NULL,
    outcome            text        NOT NULL,
    status_code        int,
    customer_id        uuid,
    before_image       jsonb,
    actor_key_id       uuid,
    actor_client_key   text,
    actor_name         text,
    actor_role         text,
    actor_claimed      text,
    reason             text,
    ip                 inet,
    user_agent         text,
    request_id         text,
    idempotency_key    uuid,
    request            jsonb,
    error_code         text,
    sqlstate           text,
    constraint_name    text,
    referencing_table  text,
    error_message      text,
    previous_hash      bytea       NOT NULL,
    hash               bytea       NOT NULL,
    subject_commitment bytea       NOT NULL,
    context_commitment bytea       NOT NULL,
    subject_salt       bytea,
    context_salt       bytea,
    CONSTRAINT entries_pkey PRIMARY KEY (app_id, seq),
    CONSTRAINT entries_are_appended_once UNIQUE (id),
    CONSTRAINT entries_outcome_is_known CHECK (outcome IN (
        'SUCCEEDED', 'REFUSED', 'NOT_FOUND', 'INVALID', 'UNAUTHENTICATED', 'FORBIDDEN', 'RATE_LIMITED',
        'CONFLICT', 'REPLAYED', 'INTERRUPTED', 'FAILED')),
    CONSTRAINT entries_seq_counts_from_one CHECK (seq >= 1),
    CONSTRAINT entries_hashes_are_sha_256 CHECK (octet_length(previous_hash) = 32 AND octet_length(hash) = 32)
);
CREATE INDEX entries_by_customer ON audit.entries (app_id, customer_id, seq) WHERE customer_id IS NOT NULL;
CREATE INDEX entries_by_time ON audit.entries (app_id, occurred_at);
CREATE INDEX entries_by_actor ON audit.entries (app_id, actor_client_key, seq) WHERE actor_client_key IS NOT NULL;
COMMENT ON TABLE audit.entries IS 'One row an attempt: who tried what on whom, when, from where, and how it ended. Append-only.';
COMMENT ON COLUMN audit.entries.seq IS 'Position in the chain of the app: 1, 2, 3 … without gaps, in commit order.';
COMMENT ON COLUMN audit.entries.id IS 'The attempt; made when the request arrived, so appending it twice is impossible.';
COMMENT ON COLUMN audit.entries.app_id IS 'The tenant, or the zero UUID for attempts that never authenticated.';
COMMENT ON COLUMN audit.entries.occurred_at IS 'When the request arrived, by the clock of the service.';
COMMENT ON COLUMN audit.entries.recorded_at IS 'When the entry was appended, by the clock of the database.';
COMMENT ON COLUMN audit.entries.action IS 'What was attempted: customer.delete …';
COMMENT ON COLUMN audit.entries.outcome IS 'How it ended, from a closed list.';
COMMENT ON COLUMN audit.entries.status_code IS 'HTTP status of the answer; NULL when there was none (INTERRUPTED).';
COMMENT ON COLUMN audit.entries.customer_id IS 'Whom it was about; NULL when the path held no UUID.';
COMMENT ON COLUMN audit.entries.before_image IS 'The full record before the attempt, as the API renders it. NULL when none was found, or after redaction.';
COMMENT ON COLUMN audit.entries.actor_key_id IS 'The API key that authenticated.';
COMMENT ON COLUMN audit.entries.actor_client_key IS 'Its client key; for a failed authentication only if such a key exists.';
COMMENT ON COLUMN audit.entries.actor_name IS 'Name of the key at that time.';
COMMENT ON COLUMN audit.entries.actor_role IS 'Role of the key at that time.';
COMMENT ON COLUMN audit.entries.actor_claimed IS 'x-actor-id: who acted, as the client claims. Never trusted for access.';
COMMENT ON COLUMN audit.entries.reason IS 'x-audit-reason: why, as the client claims.';
COMMENT ON COLUMN audit.entries.ip IS 'Address of the client; through trusted proxies only, else that of the peer.';
COMMENT ON COLUMN audit.entries.user_agent IS 'User-Agent header.';
COMMENT ON COLUMN audit.entries.request_id IS 'x-request-id, taken over or made.';
COMMENT ON COLUMN audit.entries.idempotency_key IS 'idempotency-key header, where it was a UUID.';
COMMENT ON COLUMN audit.entries.request IS 'Method, path, query and the headers that are safe to keep; folded: the number of attempts this entry stands for.';
COMMENT ON COLUMN audit.entries.error_code IS 'P2003 for a refusal by a foreign key.';
COMMENT ON COLUMN audit.entries.sqlstate IS 'SQLSTATE as the server gave it.';
COMMENT ON COLUMN audit.entries.constraint_name IS 'The constraint that refused.';
COMMENT ON COLUMN audit.entries.referencing_table IS 'The table whose rows refer to the customer.';
COMMENT ON COLUMN audit.entries.error_message IS 'What went wrong, as the server or the service said it.';
COMMENT ON COLUMN audit.entries.previous_hash IS 'hash of the entry before; 32 zero bytes for the first.';
COMMENT ON COLUMN audit.entries.hash IS 'SHA-256 over the canonical form, both commitments and previous_hash.';
COMMENT ON COLUMN audit.entries.subject_commitment IS 'HMAC-SHA-256 under subject_salt of before_image, reason, error_message.';
COMMENT ON COLUMN audit.entries.context_commitment IS 'HMAC-SHA-256 under context_salt of actor_claimed, ip, user_agent, request.';
COMMENT ON COLUMN audit.entries.subject_salt IS '32 random bytes; erased with the data by a redaction, so that what was there can''t be guessed.';
COMMENT ON COLUMN audit.entries.context_salt IS '32 random bytes.';

CREATE TABLE audit.heads (
    app_id uuid   NOT NULL,
    seq    bigint NOT NULL,
    hash   bytea  NOT NULL,
    CONSTRAINT heads_pkey PRIMARY KEY (app_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE audit.heads IS 'The last entry of each chain. Its row lock is what puts entries in order.';
COMMENT ON COLUMN audit.heads.app_id IS 'The chain.';
COMMENT ON COLUMN audit.heads.seq IS 'seq of its last entry; 0 before the first.';
COMMENT ON COLUMN audit.heads.hash IS 'hash of its last entry; 32 zero bytes before the first.';

-- Append-only, for everybody who doesn't first take the trigger away (which the chain then shows).

CREATE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'audit.entries is append-only: % is not allowed', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
COMMENT ON FUNCTION audit.refuse_change() IS 'Bars UPDATE, DELETE and TRUNCATE of the trail, for its owner too.';

CREATE TRIGGER entries_are_never_changed BEFORE UPDATE OR DELETE ON audit.entries
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER entries_are_never_truncated BEFORE TRUNCATE ON audit.entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed;
ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_truncated;

-- The canonical form: length-prefixed UTF-8, NULL distinct from empty. In PL/pgSQL, which keeps its plans from call to
-- call: nested functions in SQL would be planned anew for every member of every entry, unless the planner puts them into
-- their callers, as it does with microseconds (STABLE, as extract is).

CREATE FUNCTION audit.member(name text, value text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    v_name  bytea := convert_to(name, 'UTF8');
    v_value bytea := convert_to(value, 'UTF8');
BEGIN
    IF value IS NULL THEN
        RETURN int4send(octet_length(v_name)) || v_name || decode('00', 'hex');
    END IF;
    RETURN int4send(octet_length(v_name)) || v_name || decode('01', 'hex') || int4send(octet_length(v_value)) || v_value;
END
$$;
COMMENT ON FUNCTION audit.member(text, text) IS 'One member of the canonical form: length and name, then 00 for NULL or 01, length and value.';

CREATE FUNCTION audit.microseconds(t timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT trunc(extract(epoch FROM t) * 1000000)::text
$$;
COMMENT ON FUNCTION audit.microseconds(timestamptz) IS 'A time as whole microseconds since 1970-01-01T00:00:00Z.';

CREATE FUNCTION audit.hmac_sha256(key bytea, message bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    c_inner CONSTANT bytea := decode(repeat('36', 32), 'hex');
    c_outer CONSTANT bytea := decode(repeat('5c', 32), 'hex');
    v_key   bit(256) := ('x' || encode(key, 'hex'))::bit(256);
BEGIN
    -- bit_send gives a length of four bytes and then the bits; the key fills half a block, zeros the rest.
    RETURN sha256(
        substr(bit_send(v_key # ('x' || encode(c_outer, 'hex'))::bit(256)), 5) || c_outer
        || sha256(substr(bit_send(v_key # ('x' || encode(c_inner, 'hex'))::bit(256)), 5) || c_inner || message));
END
$$;
COMMENT ON FUNCTION audit.hmac_sha256(bytea, bytea) IS
    'HMAC-SHA-256 (RFC 2104) for keys of exactly 32 bytes, from core functions alone, so that no extension is needed.';

CREATE FUNCTION audit.subject(e audit.entries) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN audit.member('before_image', e.before_image::text)
        || audit.member('reason', e.reason)
        || audit.member('error_message', e.error_message);
END
$$;
COMMENT ON FUNCTION audit.subject(audit.entries) IS 'Canonical form of what may be about the person, erasable by redaction.';

CREATE FUNCTION audit.context(e audit.entries) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN audit.member('actor_claimed', e.actor_claimed)
        || audit.member('ip', e.ip::text)
        || audit.member('user_agent', e.user_agent)
        || audit.member('request', e.request::text);
END
$$;
COMMENT ON FUNCTION audit.context(audit.entries) IS 'Canonical form of where the attempt came from.';

CREATE FUNCTION audit.canonical(e audit.entries) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN audit.member('seq', e.seq::text)
        || audit.member('id', e.id::text)
        || audit.member('app_id', e.app_id::text)
        || audit.member('occurred_at', audit.microseconds(e.occurred_at))
        || audit.member('recorded_at', audit.microseconds(e.recorded_at))
        || audit.member('action', e.action)
        || audit.member('outcome', e.outcome)
        || audit.member('status_code', e.status_code::text)
        || audit.member('customer_id', e.customer_id::text)
        || audit.member('actor_key_id', e.actor_key_id::text)
        || audit.member('actor_client_key', e.actor_client_key)
        || audit.member('actor_name', e.actor_name)
        || audit.member('actor_role', e.actor_role)
        || audit.member('request_id', e.request_id)
        || audit.member('idempotency_key', e.idempotency_key::text)
        || audit.member('error_code', e.error_code)
        || audit.member('sqlstate', e.sqlstate)
        || audit.member('constraint_name', e.constraint_name)
        || audit.member('referencing_table', e.referencing_table);
END
$$;
COMMENT ON FUNCTION audit.canonical(audit.entries) IS 'Canonical form of the members that are never erased.';

CREATE FUNCTION audit.hash(e audit.entries) RETURNS bytea
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN sha256(audit.canonical(e) || e.subject_commitment || e.context_commitment || e.previous_hash);
END
$$;
COMMENT ON FUNCTION audit.hash(audit.entries) IS 'The hash that an entry ought to carry.';

-- What auditors read first.

CREATE VIEW audit.deletions AS
SELECT e.app_id,
       e.seq,
       e.occurred_at,
       e.outcome,
       e.status_code,
       e.customer_id,
       nullif(concat_ws(' ', e.before_image ->> 'first_name', e.before_image ->> 'last_name'), '') AS customer_name,
       coalesce(e.actor_name, e.actor_client_key, 'nobody known') AS actor,
       e.actor_role,
       e.actor_claimed,
       e.reason,
       e.ip,
       CASE e.outcome
           WHEN 'SUCCEEDED' THEN 'deleted'
           WHEN 'REFUSED' THEN 'refused: rows of ' || e.referencing_table || ' refer to it (' || e.constraint_name || ')'
           WHEN 'NOT_FOUND' THEN 'no such customer'
           WHEN 'INVALID' THEN 'malformed request: ' || coalesce(e.error_message, '')
           WHEN 'UNAUTHENTICATED' THEN 'wrong credentials'
           WHEN 'FORBIDDEN' THEN 'the key lacks the permission'
           WHEN 'RATE_LIMITED' THEN 'over the rate limit'
           WHEN 'CONFLICT' THEN coalesce(e.error_message, 'conflict')
           WHEN 'REPLAYED' THEN 'answered again from the stored answer'
           WHEN 'INTERRUPTED' THEN 'cut off before an answer; nothing was deleted'
           WHEN 'FAILED' THEN 'failed: ' || coalesce(e.error_message, '')
       END || coalesce(' × ' || (e.request ->> 'folded'), '') AS what_happened,
       e.request_id,
       e.id
FROM audit.entries AS e
WHERE e.action = 'customer.delete'
   OR (e.action = 'customer.bulk-delete' AND e.outcome NOT IN ('SUCCEEDED', 'REPLAYED'));
COMMENT ON VIEW audit.deletions IS 'One readable line an attempt to delete; the customers of a bulk request have a line each.';

CREATE VIEW audit.failures AS
SELECT e.app_id, e.seq, e.occurred_at, e.action, e.outcome, e.status_code, e.customer_id, e.actor_client_key,
       e.actor_name, e.actor_claimed, e.ip, e.error_code, e.sqlstate, e.constraint_name, e.referencing_table,
       e.error_message, coalesce((e.request ->> 'folded')::bigint, 1) AS attempts, e.request_id, e.id
FROM audit.entries AS e
WHERE e.outcome NOT IN ('SUCCEEDED', 'REPLAYED');
COMMENT ON VIEW audit.failures IS 'Every attempt that changed nothing, of whatever action. attempts > 1 where a flood was folded.';

CREATE VIEW audit.by_actor AS
SELECT e.app_id, e.actor_key_id, e.actor_client_key, e.actor_name, e.actor_role, e.action, e.outcome,
       sum(coalesce((e.request ->> 'folded')::bigint, 1))::bigint AS attempts,
       min(e.occurred_at) AS first_at,
       max(e.occurred_at) AS last_at
FROM audit.entries AS e
GROUP BY e.app_id, e.actor_key_id, e.actor_client_key, e.actor_name, e.actor_role, e.action, e.outcome;
COMMENT ON VIEW audit.by_actor IS 'How often each key attempted what, with which outcome.';

CREATE VIEW audit.blockers AS
SELECT e.app_id, e.referencing_table, e.constraint_name,
       count(*) AS refusals,
       count(DISTINCT e.customer_id) AS customers,
       min(e.occurred_at) AS first_at,
       max(e.occurred_at) AS last_at
FROM audit.entries AS e
WHERE e.outcome = 'REFUSED'
GROUP BY e.app_id, e.referencing_table, e.constraint_name;
COMMENT ON VIEW audit.blockers IS 'Which constraints refuse deletions, and how often.';
