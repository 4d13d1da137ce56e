-- The audit trail: one chain of entries an app, append-only, each entry hashed onto the one before.
-- docs/audit-chain.md specifies the canonical form so that a second verifier can be written.

CREATE SCHEMA audit;
COMMENT ON SCHEMA audit IS 'The audit trail and its views. Read by auditors, written by service.append alone.';

-- No CHECK: service.append is the only writer, and audit verify finds what another has written. PostgreSQL reads the
-- text of each anew in every INSERT and UPDATE; those of this table and of service.attempts cost 7 % of a deletion's
-- CPU.
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
    CONSTRAINT entries_are_appended_once UNIQUE (id)
);
-- PostgreSQL keeps samples of a column as statistics until the next ANALYZE: none of what is erased, nor of the salts, with
-- which it could be guessed. No plan needs them.
ALTER TABLE audit.entries
    ALTER COLUMN before_image SET STATISTICS 0,
    ALTER COLUMN actor_claimed SET STATISTICS 0,
    ALTER COLUMN reason SET STATISTICS 0,
    ALTER COLUMN ip SET STATISTICS 0,
    ALTER COLUMN user_agent SET STATISTICS 0,
    ALTER COLUMN request SET STATISTICS 0,
    ALTER COLUMN error_message SET STATISTICS 0,
    ALTER COLUMN subject_salt SET STATISTICS 0,
    ALTER COLUMN context_salt SET STATISTICS 0;
CREATE INDEX entries_by_customer ON audit.entries (app_id, customer_id, seq) WHERE customer_id IS NOT NULL;
CREATE INDEX entries_of_redactions ON audit.entries (app_id, customer_id, seq)
    WHERE action = 'customer.redact' AND outcome = 'SUCCEEDED';
CREATE INDEX entries_by_time ON audit.entries (app_id, occurred_at);
CREATE INDEX entries_by_actor ON audit.entries (app_id, actor_client_key, seq) WHERE actor_client_key IS NOT NULL;
CREATE INDEX entries_by_outcome ON audit.entries (app_id, outcome, seq);
CREATE INDEX entries_by_actor_name ON audit.entries (app_id, actor_name, seq) WHERE actor_name IS NOT NULL;
CREATE INDEX entries_by_claimed_actor ON audit.entries (app_id, actor_claimed, seq) WHERE actor_claimed IS NOT NULL;
COMMENT ON TABLE audit.entries IS 'One row an attempt: who tried what on which customer, when, from where, and how it ended. Append-only.';
COMMENT ON COLUMN audit.entries.seq IS 'Position in the chain of the app: 1, 2, 3 … without gaps, in commit order.';
COMMENT ON COLUMN audit.entries.id IS 'The attempt; made when the request arrived, so appending it twice is impossible.';
COMMENT ON COLUMN audit.entries.app_id IS 'The tenant, or the zero UUID for attempts that never authenticated.';
COMMENT ON COLUMN audit.entries.occurred_at IS 'When the request was admitted, by the clock of the database.';
COMMENT ON COLUMN audit.entries.recorded_at IS 'When the entry was appended, by the clock of the database.';
COMMENT ON COLUMN audit.entries.action IS 'What was attempted: customer.delete …';
COMMENT ON COLUMN audit.entries.outcome IS 'How it ended, from a closed list.';
COMMENT ON COLUMN audit.entries.status_code IS 'HTTP status of the answer; NULL when there was none (INTERRUPTED).';
COMMENT ON COLUMN audit.entries.customer_id IS 'The customer of the attempt; NULL when the path held no UUID.';
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

CREATE TABLE audit.nodes (
    app_id uuid   NOT NULL,
    level  int    NOT NULL,
    index  bigint NOT NULL,
    hash   bytea  NOT NULL,
    CONSTRAINT nodes_pkey PRIMARY KEY (app_id, level, index),
    CONSTRAINT nodes_are_above_the_leaves CHECK (level BETWEEN 1 AND 7 AND index >= 0),
    CONSTRAINT nodes_hashes_are_sha_256 CHECK (octet_length(hash) = 32)
);
COMMENT ON TABLE audit.nodes IS
    'The Merkle tree over each chain: one row for every full tile of 256 hashes. Leaves aren''t stored; they are made from audit.entries. Append-only.';
COMMENT ON COLUMN audit.nodes.app_id IS 'The chain.';
COMMENT ON COLUMN audit.nodes.level IS 'Level of tiles that the hash belongs to, as in C2SP tlog-tiles; it covers 256 ^ level entries.';
COMMENT ON COLUMN audit.nodes.index IS 'Position on its level from 0: it covers the entries index * 256 ^ level + 1 to (index + 1) * 256 ^ level.';
COMMENT ON COLUMN audit.nodes.hash IS 'Root of the full tile below it (RFC 9162, section 2.1).';

CREATE TABLE audit.checkpoints (
    app_id     uuid        NOT NULL,
    size       bigint      NOT NULL,
    signed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    root       bytea       NOT NULL,
    note       text        NOT NULL,
    public_key text        NOT NULL,
    CONSTRAINT checkpoints_pkey PRIMARY KEY (app_id, size, signed_at),
    CONSTRAINT checkpoints_cover_an_entry CHECK (size >= 1),
    CONSTRAINT checkpoints_roots_are_sha_256 CHECK (octet_length(root) = 32)
);
COMMENT ON TABLE audit.checkpoints IS
    'Signed checkpoints, from which proofs and certificates are made. Written by customerd audit checkpoint, through audit.keep_checkpoint. Copies belong outside the database. Append-only.';
COMMENT ON COLUMN audit.checkpoints.app_id IS 'The chain.';
COMMENT ON COLUMN audit.checkpoints.size IS 'How many entries it covers.';
COMMENT ON COLUMN audit.checkpoints.signed_at IS 'When it was kept here, by the clock of the database.';
COMMENT ON COLUMN audit.checkpoints.root IS 'Root of the Merkle tree of so many entries.';
COMMENT ON COLUMN audit.checkpoints.note IS 'The signed note with all its signatures (C2SP tlog-checkpoint).';
COMMENT ON COLUMN audit.checkpoints.public_key IS 'Verifier key of the key that signed it. A verifier must know it from elsewhere.';
