-- What the instances of the service share: API keys, rate windows, attempts with their receipts, floods.

CREATE SCHEMA IF NOT EXISTS service;  -- The migrator makes it, for service.migrations.
COMMENT ON SCHEMA service IS 'State that all instances share, and the functions of the protocol (docs/protocol.md).';

-- The types of the seam between the service and the database. What decides is an ENUM, what is told about it a
-- composite type; every function that returns one returns it whole.

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
COMMENT ON TYPE service.customer_record IS 'The members of a customer, in the order of docs/api.md, Records.';

CREATE TYPE service.invoice_record AS (
    id             uuid,
    customer_id    uuid,
    invoice_number text,
    status         text,
    amount         numeric(18,2),
    currency       text,
    due_date       date,
    "appId"        text,
    "createdAt"    text,
    "updatedAt"    text
);
COMMENT ON TYPE service.invoice_record IS 'The members of an invoice.';

CREATE TYPE service.payment_link_record AS (
    id          uuid,
    customer_id uuid,
    url         text,
    status      text,
    amount      numeric(18,2),
    currency    text,
    expires_at  text,
    "appId"     text,
    "createdAt" text,
    "updatedAt" text
);
COMMENT ON TYPE service.payment_link_record IS 'The members of a payment link.';

CREATE TYPE service.transaction_record AS (
    id          uuid,
    customer_id uuid,
    kind        text,
    status      text,
    amount      numeric(18,2),
    currency    text,
    occurred_at text,
    "appId"     text,
    "createdAt" text
);
COMMENT ON TYPE service.transaction_record IS 'The members of a transaction.';

CREATE TYPE service.liquidation_address_record AS (
    id          uuid,
    customer_id uuid,
    chain       text,
    currency    text,
    address     text,
    "appId"     text,
    "createdAt" text,
    "updatedAt" text
);
COMMENT ON TYPE service.liquidation_address_record IS 'The members of a liquidation address.';

CREATE TYPE service.hold_record AS (
    customer_id uuid,
    reason      text,
    until       text,
    placed_at   text,
    placed_by   text
);
COMMENT ON TYPE service.hold_record IS 'The members of a hold.';

CREATE TYPE service.event_record AS (
    type        text,
    id          uuid,
    seq         bigint,
    occurred_at text,
    app_id      text,
    customer_id uuid,
    actor       text,
    request_id  text
);
COMMENT ON TYPE service.event_record IS 'The members of an event.';

CREATE TYPE service.outcome AS ENUM (
    'SUCCEEDED', 'REFUSED', 'NOT_FOUND', 'INVALID', 'UNAUTHENTICATED', 'FORBIDDEN', 'RATE_LIMITED', 'CONFLICT',
    'REPLAYED', 'INTERRUPTED', 'FAILED');
COMMENT ON TYPE service.outcome IS 'How an attempt ended, as audit.entries.outcome names it.';

CREATE TYPE service.ending AS ENUM (
    'SUCCEEDED', 'CREATED', 'ACCEPTED', 'EMPTY', 'REFUSED', 'NOT_FOUND', 'INVALID', 'UNAUTHENTICATED', 'FORBIDDEN',
    'RATE_LIMITED', 'CONFLICT', 'MISMATCH', 'FAILED');
COMMENT ON TYPE service.ending IS
    'How an attempt ended, as finely as its status tells. CREATED, ACCEPTED and EMPTY are successes; MISMATCH, of a precondition, is a conflict.';

CREATE TYPE service.verdict AS ENUM ('UNAUTHENTICATED', 'RATE_LIMITED', 'FORBIDDEN', 'INVALID', 'ADMITTED');
COMMENT ON TYPE service.verdict IS 'Whether a request is admitted, or the first check that it failed.';

CREATE TYPE service.admission AS (
    verdict        service.verdict,
    is_recorded    boolean,
    retry_after    int,
    decided_at     timestamptz,
    app_id         uuid,
    key_id         uuid,
    client_key     text,
    key_name       text,
    key_role       text,
    rate_limit     int,
    rate_remaining int,
    rate_reset     bigint,
    is_elsewhere   boolean
);
COMMENT ON TYPE service.admission IS
    'The decision about a request, when it was made, the API key that asked, and the state of its rate window.';
COMMENT ON COLUMN service.admission.is_recorded IS 'Whether the attempt gets an audit entry of its own; a flood is folded.';
COMMENT ON COLUMN service.admission.retry_after IS 'Seconds until the rate window ends, with RATE_LIMITED. Seconds until the window of the flood closes, with UNAUTHENTICATED that was folded into one. Otherwise 0.';
COMMENT ON COLUMN service.admission.client_key IS 'The client key that was tried, if it exists.';
COMMENT ON COLUMN service.admission.rate_limit IS 'Requests of the key in one window: its own number, or that of the service.';
COMMENT ON COLUMN service.admission.is_elsewhere IS 'Whether FORBIDDEN is due to the address: the key is not accepted from there.';

CREATE TYPE service.receipt AS (
    customer_id uuid,
    outcome     service.outcome,
    status_code int,
    body        text
);
COMMENT ON TYPE service.receipt IS
    'The finished answer of an attempt, with everything that its status, headers and body are made from.';

CREATE TYPE service.opening AS ENUM ('RUN', 'REPLAY', 'RUNNING', 'MISMATCH');
COMMENT ON TYPE service.opening IS
    'RUN: the attempt is the caller''s to run. REPLAY: it has finished, here is its receipt. RUNNING: the first request with this idempotency key is still running. MISMATCH: the key was used for another request.';

CREATE TYPE service.opened AS (
    opening       service.opening,
    running_for_s int,
    fence         int,
    attempt_id    uuid,
    has_entry     boolean,
    receipt       service.receipt
);
COMMENT ON TYPE service.opened IS 'How an attempt was opened, and under which fence.';
COMMENT ON COLUMN service.opened.running_for_s IS 'Seconds until the lease of the running attempt ends, with RUNNING.';

CREATE TYPE service.admitted AS (
    admission service.admission,
    opened    service.opened
);
COMMENT ON TYPE service.admitted IS 'The decision about a write, and its attempt if it was admitted.';

CREATE TYPE service.settling AS ENUM ('FINISHED', 'OPEN', 'LOST');
COMMENT ON TYPE service.settling IS
    'What became of a COMMIT in doubt. FINISHED: it committed. OPEN: it did not and, the fence being raised, never will. LOST: another instance took the attempt over.';

CREATE TYPE service.settled AS (
    settling service.settling,
    fence    int,
    receipt  service.receipt
);
COMMENT ON TYPE service.settled IS 'A settled COMMIT: the receipt if it committed, the new fence if it did not.';

CREATE TYPE service.appended AS (
    id      uuid,
    seq     bigint,
    outcome service.outcome
);
COMMENT ON TYPE service.appended IS
    'What the chain holds for an attempt. No seq: the attempt is no longer the caller''s to record.';

CREATE TYPE service.recovered AS (
    completed   int,
    interrupted int,
    folded      int,
    closed      int
);
COMMENT ON TYPE service.recovered IS
    'What one run of recovery did: receipts that got their entry, attempts that ended as INTERRUPTED, floods folded into an entry, floods closed, most of which needed none.';

CREATE TABLE service.api_keys (
    app_id                     uuid        NOT NULL,
    id                         uuid        NOT NULL DEFAULT gen_random_uuid(),
    client_key                 text        NOT NULL,
    secret_digest              bytea       NOT NULL,
    previous_secret_digest     bytea,
    previous_secret_expires_at timestamptz,
    name                       text        NOT NULL,
    role                       text        NOT NULL,
    created_at                 timestamptz NOT NULL DEFAULT now(),
    expires_at                 timestamptz,
    revoked_at                 timestamptz,
    rate_limit                 int,
    allowed_addresses          cidr[],
    permissions                text[],
    is_recorded                boolean     NOT NULL DEFAULT false,
    CONSTRAINT api_keys_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT api_keys_client_key_names_one_key UNIQUE (client_key),
    CONSTRAINT api_keys_belong_to_a_real_app CHECK (app_id <> '00000000-0000-0000-0000-000000000000'),
    CONSTRAINT api_keys_role_is_known CHECK (role IN ('viewer', 'editor', 'admin', 'auditor')),
    CONSTRAINT api_keys_digests_are_sha_256 CHECK (
        octet_length(secret_digest) = 32 AND octet_length(previous_secret_digest) = 32),
    CONSTRAINT api_keys_previous_secret_has_an_end CHECK (
        (previous_secret_digest IS NULL) = (previous_secret_expires_at IS NULL)),
    CONSTRAINT api_keys_rate_limit_permits_something CHECK (rate_limit > 0),
    CONSTRAINT api_keys_are_accepted_from_somewhere CHECK (cardinality(allowed_addresses) > 0),
    CONSTRAINT api_keys_permissions_permit_something CHECK (cardinality(permissions) > 0)
);
COMMENT ON TABLE service.api_keys IS 'API keys. Looked up by client_key alone, so a distributed schema replicates this small table.';
COMMENT ON COLUMN service.api_keys.app_id IS 'The tenant for which the key acts.';
COMMENT ON COLUMN service.api_keys.id IS 'The key, as the trail names it.';
COMMENT ON COLUMN service.api_keys.client_key IS 'x-client-key: public name of the key.';
COMMENT ON COLUMN service.api_keys.secret_digest IS 'SHA-256 of the secret, which is 256 random bits; the secret itself is never stored.';
COMMENT ON COLUMN service.api_keys.previous_secret_digest IS 'After a rotation: the old secret, valid until previous_secret_expires_at.';
COMMENT ON COLUMN service.api_keys.previous_secret_expires_at IS 'End of the overlap of a rotation.';
COMMENT ON COLUMN service.api_keys.name IS 'What operators call it.';
COMMENT ON COLUMN service.api_keys.role IS 'viewer, editor, admin or auditor.';
COMMENT ON COLUMN service.api_keys.created_at IS 'When it was made.';
COMMENT ON COLUMN service.api_keys.expires_at IS 'When it stops working; NULL for never.';
COMMENT ON COLUMN service.api_keys.revoked_at IS 'When it was revoked; NULL while it is good.';
COMMENT ON COLUMN service.api_keys.rate_limit IS 'Its requests in one window; NULL for the limit of the service.';
COMMENT ON COLUMN service.api_keys.allowed_addresses IS 'The networks that it is accepted from; NULL for all.';
COMMENT ON COLUMN service.api_keys.permissions IS 'Those of its role that it has; NULL for all of them.';
COMMENT ON COLUMN service.api_keys.is_recorded IS 'Whether it was made together with an entry in the chain of its app, as by customerd: without entries the trail was wiped.';

CREATE TABLE service.rate_windows (
    app_id       uuid        NOT NULL,
    key_id       uuid        NOT NULL,
    opened_at    timestamptz NOT NULL,
    spent        int         NOT NULL,
    refused      int         NOT NULL,
    was_granted  boolean     NOT NULL,
    last_used_at timestamptz NOT NULL,
    CONSTRAINT rate_windows_pkey PRIMARY KEY (app_id, key_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE service.rate_windows IS 'The current rate window of each API key, one row a key, reused from window to window.';
COMMENT ON COLUMN service.rate_windows.app_id IS 'The tenant.';
COMMENT ON COLUMN service.rate_windows.key_id IS 'The API key.';
COMMENT ON COLUMN service.rate_windows.opened_at IS 'The key''s first request of the window.';
COMMENT ON COLUMN service.rate_windows.spent IS 'Requests granted in the window.';
COMMENT ON COLUMN service.rate_windows.refused IS 'Requests refused in the window.';
COMMENT ON COLUMN service.rate_windows.was_granted IS 'Whether the last request was granted.';
COMMENT ON COLUMN service.rate_windows.last_used_at IS 'When the key was last used.';

-- No CHECK, as in audit.entries: a row is written three times within one deletion.
CREATE TABLE service.attempts (
    app_id           uuid        NOT NULL,
    attempt_id       uuid        NOT NULL,
    key_id           uuid        NOT NULL,
    action           text        NOT NULL,
    customer_id      uuid,
    admitted_at      timestamptz NOT NULL,
    idempotency_key  uuid,
    is_current       boolean     NOT NULL DEFAULT true,
    fingerprint      bytea,
    fingerprint_salt bytea       NOT NULL DEFAULT uuid_send(gen_random_uuid()),
    redactions_seen  int         NOT NULL DEFAULT 0,
    is_redacted      boolean     NOT NULL DEFAULT false,
    entry            jsonb       NOT NULL,
    fence            int         NOT NULL DEFAULT 1,
    lease_expires_at timestamptz NOT NULL,
    ttl              interval    NOT NULL,
    outcome          service.outcome,
    status_code      int,
    body             text,
    before_image     text,
    failure          jsonb,
    finished_at      timestamptz,
    expires_at       timestamptz,
    entry_seq        bigint,
    CONSTRAINT attempts_pkey PRIMARY KEY (app_id, attempt_id)
) WITH (fillfactor = 70);
-- As in audit.entries: no samples of what is erased.
ALTER TABLE service.attempts
    ALTER COLUMN fingerprint SET STATISTICS 0,
    ALTER COLUMN fingerprint_salt SET STATISTICS 0,
    ALTER COLUMN entry SET STATISTICS 0,
    ALTER COLUMN body SET STATISTICS 0,
    ALTER COLUMN before_image SET STATISTICS 0,
    ALTER COLUMN failure SET STATISTICS 0;
CREATE UNIQUE INDEX attempts_hold_their_idempotency_key ON service.attempts (app_id, idempotency_key)
    WHERE is_current AND idempotency_key IS NOT NULL;
CREATE INDEX attempts_without_entry ON service.attempts (lease_expires_at) WHERE entry_seq IS NULL;
CREATE INDEX attempts_by_customer ON service.attempts (app_id, customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX attempts_of_bulk_requests ON service.attempts (app_id) WHERE action = 'customer.bulk-delete';
CREATE INDEX attempts_by_expiry ON service.attempts (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE service.attempts IS
    'Every write that was admitted, with or without an idempotency key: its lease while it runs, its receipt afterwards.';
COMMENT ON COLUMN service.attempts.app_id IS 'The tenant.';
COMMENT ON COLUMN service.attempts.attempt_id IS 'The attempt; also the id of its audit entry.';
COMMENT ON COLUMN service.attempts.key_id IS 'The API key that attempts.';
COMMENT ON COLUMN service.attempts.action IS 'What is attempted, as audit.entries.action names it.';
COMMENT ON COLUMN service.attempts.customer_id IS 'The customer that it is about; NULL for a bulk request and until a customer is created.';
COMMENT ON COLUMN service.attempts.admitted_at IS 'When it was admitted, by the clock of the database; occurred_at of its entry.';
COMMENT ON COLUMN service.attempts.idempotency_key IS 'The client''s idempotency key, NULL where the route doesn''t need one.';
COMMENT ON COLUMN service.attempts.is_current IS 'Whether this row answers for its idempotency key; false once interrupted or failed.';
COMMENT ON COLUMN service.attempts.fingerprint IS 'Salted SHA-256 of the request, by which another request under the same key is told. NULL once the key is free or the customer redacted: a body could be guessed from it.';
COMMENT ON COLUMN service.attempts.fingerprint_salt IS '16 random bytes.';
COMMENT ON COLUMN service.attempts.redactions_seen IS 'service.redactions.times of the customer at admission: if it has grown, the attempt''s images are not recorded.';
COMMENT ON COLUMN service.attempts.is_redacted IS 'Whether a redaction has erased the personal data of this row.';
COMMENT ON COLUMN service.attempts.entry IS 'What else its audit entry needs: actor, context of the request.';
COMMENT ON COLUMN service.attempts.fence IS 'Raised when another instance takes the attempt over; a transaction under a lower fence can''t commit.';
COMMENT ON COLUMN service.attempts.lease_expires_at IS 'Until when no other instance touches it: the deadline of the request plus a margin.';
COMMENT ON COLUMN service.attempts.ttl IS 'How long the answer is kept, counted from finished_at.';
COMMENT ON COLUMN service.attempts.outcome IS 'How it ended; NULL while it runs.';
COMMENT ON COLUMN service.attempts.status_code IS 'Status of the stored answer.';
COMMENT ON COLUMN service.attempts.body IS 'The stored answer, byte for byte; NULL for outcomes that aren''t replayed.';
COMMENT ON COLUMN service.attempts.before_image IS 'The record before the attempt, as the API renders it.';
COMMENT ON COLUMN service.attempts.failure IS 'error_code, sqlstate, constraint_name, referencing_table, error_message of the entry.';
COMMENT ON COLUMN service.attempts.finished_at IS 'When the outcome was settled.';
COMMENT ON COLUMN service.attempts.expires_at IS 'When the answer may be forgotten: finished_at + ttl, at once when interrupted; NULL until the audit entry is written. So the receipt changes no indexed column, and its row stays on its page.';
COMMENT ON COLUMN service.attempts.entry_seq IS 'seq of its audit entry; NULL until that is written.';

CREATE TABLE service.floods (
    app_id    uuid        NOT NULL,
    kind      text        NOT NULL,
    subject   text        NOT NULL,
    opened_at timestamptz NOT NULL,
    closes_at timestamptz NOT NULL,
    counted   bigint      NOT NULL,
    folded    bigint      NOT NULL,
    entry_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
    entry     jsonb       NOT NULL,
    CONSTRAINT floods_pkey PRIMARY KEY (app_id, kind, subject, opened_at),
    CONSTRAINT floods_kind_is_known CHECK (kind IN ('UNAUTHENTICATED', 'RATE_LIMITED'))
);
ALTER TABLE service.floods ALTER COLUMN subject SET STATISTICS 0, ALTER COLUMN entry SET STATISTICS 0;
CREATE INDEX floods_by_end ON service.floods (closes_at);
COMMENT ON TABLE service.floods IS
    'Answers that are too many to be recorded one by one: counted here, folded into one audit entry when the window closes.';
COMMENT ON COLUMN service.floods.app_id IS 'The chain that the entry will belong to.';
COMMENT ON COLUMN service.floods.kind IS 'UNAUTHENTICATED by address, RATE_LIMITED by API key.';
COMMENT ON COLUMN service.floods.subject IS 'The address (IPv6: its /64) or the API key.';
COMMENT ON COLUMN service.floods.opened_at IS 'Start of the window.';
COMMENT ON COLUMN service.floods.closes_at IS 'End of the window.';
COMMENT ON COLUMN service.floods.counted IS 'Attempts in the window, recorded ones included.';
COMMENT ON COLUMN service.floods.folded IS 'Attempts that only the folded entry stands for.';
COMMENT ON COLUMN service.floods.entry_id IS 'id of the folded entry, so that it is appended once.';
COMMENT ON COLUMN service.floods.entry IS 'The last folded attempt, as an audit entry.';

CREATE TABLE service.redactions (
    app_id      uuid        NOT NULL,
    customer_id uuid        NOT NULL,
    attempt_id  uuid        NOT NULL,
    redacted_at timestamptz NOT NULL,
    record      text        NOT NULL,
    times       int         NOT NULL DEFAULT 1,
    entry_seq   bigint,
    erased_to   bigint      NOT NULL DEFAULT 0,
    is_erased   boolean     NOT NULL DEFAULT false,
    CONSTRAINT redactions_pkey PRIMARY KEY (app_id, customer_id)
);
CREATE INDEX redactions_unfinished ON service.redactions (app_id, customer_id) WHERE NOT is_erased;
COMMENT ON TABLE service.redactions IS
    'The customers whose personal data was erased, so that nothing that was under way brings it back, and how far the trail is erased.';
COMMENT ON COLUMN service.redactions.app_id IS 'The tenant.';
COMMENT ON COLUMN service.redactions.customer_id IS 'The customer, living or deleted.';
COMMENT ON COLUMN service.redactions.attempt_id IS 'The attempt of the last redaction.';
COMMENT ON COLUMN service.redactions.redacted_at IS 'When the last redaction was, by the clock of the database. For information.';
COMMENT ON COLUMN service.redactions.record IS 'The redacted record, as the API renders it.';
COMMENT ON COLUMN service.redactions.times IS 'Number of redactions. An attempt that was admitted before the last one saw a smaller number.';
COMMENT ON COLUMN service.redactions.entry_seq IS 'seq of the entry that declares the last redaction; NULL until it is appended.';
COMMENT ON COLUMN service.redactions.erased_to IS 'The entries of the customer up to this seq have been erased.';
COMMENT ON COLUMN service.redactions.is_erased IS 'Whether nothing is left to erase of what came before the last redaction.';
