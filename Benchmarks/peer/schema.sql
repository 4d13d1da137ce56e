-- What the peer needs beside the customers and the records that refer to them, which both services share. :"service" is the
-- role that the peer connects as.
CREATE ROLE :"service" LOGIN;
CREATE SCHEMA peer;

CREATE TABLE peer.keys (
    client_key    text NOT NULL PRIMARY KEY,
    secret_digest bytea NOT NULL,
    id            uuid NOT NULL,
    app_id        uuid NOT NULL,
    name          text NOT NULL,
    role          text NOT NULL
);
COMMENT ON TABLE peer.keys IS 'API keys: those of the service that is measured.';

CREATE TABLE peer.windows (
    key_id     uuid NOT NULL PRIMARY KEY,
    started_at timestamptz NOT NULL,
    used       bigint NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE peer.windows IS 'The rate limit: how many requests a key has made in its window.';

CREATE TABLE peer.attempts (
    app_id          uuid NOT NULL,
    idempotency_key uuid NOT NULL,
    id              uuid NOT NULL,
    fingerprint     bytea NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    status_code     int,
    body            text,
    PRIMARY KEY (app_id, idempotency_key)
) WITH (fillfactor = 70);
COMMENT ON TABLE peer.attempts IS 'Idempotency keys, and the answers to replay.';

CREATE TABLE peer.heads (
    app_id uuid NOT NULL PRIMARY KEY,
    seq    bigint NOT NULL,
    hash   bytea NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE peer.heads IS 'The last entry of each chain.';

CREATE TABLE peer.entries (
    app_id          uuid NOT NULL,
    seq             bigint NOT NULL,
    id              uuid NOT NULL,
    occurred_at     timestamptz NOT NULL,
    recorded_at     timestamptz NOT NULL,
    action          text NOT NULL,
    outcome         text NOT NULL,
    status_code     int NOT NULL,
    customer_id     uuid,
    before_image    jsonb,
    key_id          uuid NOT NULL,
    actor_name      text NOT NULL,
    actor_role      text NOT NULL,
    ip              inet,
    user_agent      text,
    request_id      text NOT NULL,
    idempotency_key uuid NOT NULL,
    request         jsonb NOT NULL,
    constraint_name text,
    previous_hash   bytea NOT NULL,
    hash            bytea NOT NULL,
    PRIMARY KEY (app_id, seq),
    UNIQUE (app_id, id)
);
COMMENT ON TABLE peer.entries IS 'The trail.';
CREATE INDEX entries_by_customer ON peer.entries (app_id, customer_id, seq);
CREATE INDEX entries_by_time ON peer.entries (app_id, occurred_at);
CREATE INDEX entries_by_outcome ON peer.entries (app_id, outcome, seq);

GRANT USAGE ON SCHEMA peer, public TO :"service";
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA peer TO :"service";
GRANT SELECT, UPDATE, DELETE ON public.customers TO :"service";
