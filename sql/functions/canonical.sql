-- The canonical form of an entry and its hash, as docs/audit-chain.md specifies them: length-prefixed UTF-8, NULL
-- distinct from empty.
--
-- Called by service.append for every entry, and by auditors who check hashes in psql. Takes no locks. Bodies of
-- standard SQL: names are bound at creation, and the planner inlines them, so that an entry is one expression and not
-- thirty calls. STABLE, as extract and convert_to are: a function that claims more than its body isn't inlined.

-- The name comes by functions that are IMMUTABLE, so that the planner computes it once. The database is encoded in
-- UTF-8.
CREATE OR REPLACE FUNCTION audit.member(name text, value text) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN int4send(octet_length(name)) || decode(name, 'escape')
    || CASE WHEN value IS NULL THEN '\x00'::bytea
            ELSE '\x01'::bytea || int4send(octet_length(value)) || convert_to(value, 'UTF8') END;
COMMENT ON FUNCTION audit.member(text, text) IS
    'One member of the canonical form: length and name, then 00 for NULL or 01, length and value.';

CREATE OR REPLACE FUNCTION audit.microseconds(t timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN trunc(extract(epoch FROM t) * 1000000)::text;
COMMENT ON FUNCTION audit.microseconds(timestamptz) IS 'A time as whole microseconds since 1970-01-01T00:00:00Z.';

-- bit_send gives a length of four bytes and then the bits; the key fills half a block, zeros the rest.
CREATE OR REPLACE FUNCTION audit.hmac_sha256(key bytea, message bytea) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(
    substr(bit_send(('x' || encode(key, 'hex'))::bit(256)
                    # x'5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c'), 5)
    || '\x5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c'::bytea
    || sha256(
        substr(bit_send(('x' || encode(key, 'hex'))::bit(256)
                        # x'3636363636363636363636363636363636363636363636363636363636363636'), 5)
        || '\x3636363636363636363636363636363636363636363636363636363636363636'::bytea
        || message));
COMMENT ON FUNCTION audit.hmac_sha256(bytea, bytea) IS
    'HMAC-SHA-256 (RFC 2104) for keys of exactly 32 bytes, from core functions alone, so that no extension is needed.';

CREATE OR REPLACE FUNCTION audit.subject(e audit.entries) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN audit.member('before_image', e.before_image::text)
    || audit.member('reason', e.reason)
    || audit.member('error_message', e.error_message);
COMMENT ON FUNCTION audit.subject(audit.entries) IS
    'Canonical form of what may be about the person, erasable by redaction.';

CREATE OR REPLACE FUNCTION audit.context(e audit.entries) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN audit.member('actor_claimed', e.actor_claimed)
    || audit.member('ip', e.ip::text)
    || audit.member('user_agent', e.user_agent)
    || audit.member('request', e.request::text);
COMMENT ON FUNCTION audit.context(audit.entries) IS 'Canonical form of where the attempt came from.';

CREATE OR REPLACE FUNCTION audit.canonical(e audit.entries) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
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
COMMENT ON FUNCTION audit.canonical(audit.entries) IS 'Canonical form of the members that are never erased.';

CREATE OR REPLACE FUNCTION audit.hash(e audit.entries) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE
RETURN sha256(audit.canonical(e) || e.subject_commitment || e.context_commitment || e.previous_hash);
COMMENT ON FUNCTION audit.hash(audit.entries) IS 'The hash that an entry must carry.';
