-- Webhooks: where the events of an app are sent. A webhook is a place in the chain, with a lease and a backoff.

CREATE TABLE service.webhooks (
    app_id                     uuid        NOT NULL,
    id                         uuid        NOT NULL,
    url                        text        NOT NULL,
    types                      text[],
    description                text,
    status                     text        NOT NULL DEFAULT 'ENABLED',
    secret                     bytea       NOT NULL,
    previous_secret            bytea,
    previous_secret_expires_at timestamptz,
    created_at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    after_seq                  bigint      NOT NULL,
    fence                      int         NOT NULL DEFAULT 1,
    lease_expires_at           timestamptz,
    claim                      uuid,
    records                    int         NOT NULL DEFAULT 0,
    failures                   int         NOT NULL DEFAULT 0,
    failing_since              timestamptz,
    retry_at                   timestamptz,
    deliveries                 bigint      NOT NULL DEFAULT 0,
    CONSTRAINT webhooks_pkey PRIMARY KEY (app_id, id),
    CONSTRAINT webhooks_belong_to_a_real_app CHECK (app_id <> '00000000-0000-0000-0000-000000000000'),
    CONSTRAINT webhooks_url_has_at_most_2048_characters CHECK (char_length(url) BETWEEN 1 AND 2048),
    CONSTRAINT webhooks_description_has_at_most_500_characters CHECK (char_length(description) <= 500),
    CONSTRAINT webhooks_types_are_some CHECK (cardinality(types) > 0),
    CONSTRAINT webhooks_status_is_known CHECK (status IN ('ENABLED', 'DISABLED')),
    CONSTRAINT webhooks_previous_secret_has_an_end CHECK (
        (previous_secret IS NULL) = (previous_secret_expires_at IS NULL)),
    CONSTRAINT webhooks_fail_since_a_time CHECK ((failures = 0) = (failing_since IS NULL))
) WITH (fillfactor = 50);
COMMENT ON TABLE service.webhooks IS 'Where the events of an app are sent, and how far that has come. At most 20 an app.';
COMMENT ON COLUMN service.webhooks.app_id IS 'The tenant.';
COMMENT ON COLUMN service.webhooks.id IS 'The webhook, unique within its app.';
COMMENT ON COLUMN service.webhooks.url IS 'Where events are sent by POST.';
COMMENT ON COLUMN service.webhooks.types IS 'The types of events that are sent; NULL for all of them, later ones included.';
COMMENT ON COLUMN service.webhooks.description IS 'What operators call it.';
COMMENT ON COLUMN service.webhooks.status IS 'ENABLED or DISABLED.';
COMMENT ON COLUMN service.webhooks.secret IS 'What deliveries are signed with, encrypted with CUSTOMERD_SECRETS_KEY; the database never sees the secret itself.';
COMMENT ON COLUMN service.webhooks.previous_secret IS 'After a rotation: the old secret, encrypted; deliveries have both signatures until previous_secret_expires_at.';
COMMENT ON COLUMN service.webhooks.previous_secret_expires_at IS 'End of the overlap of a rotation.';
COMMENT ON COLUMN service.webhooks.created_at IS 'When it was made.';
COMMENT ON COLUMN service.webhooks.after_seq IS 'Its place in the chain: everything up to this seq is delivered, or isn''t for it.';
COMMENT ON COLUMN service.webhooks.fence IS 'Raised when the webhook is taken over or changed; a deliverer under a lower fence moves its place no more.';
COMMENT ON COLUMN service.webhooks.lease_expires_at IS 'Until when one instance delivers; NULL when none does.';
COMMENT ON COLUMN service.webhooks.claim IS 'The claim that granted the lease. Made again, because its answer was lost, it has the webhook again.';
COMMENT ON COLUMN service.webhooks.records IS 'Number of the last record of its deliverer under this fence. One that comes again, because its answer was lost, changes nothing.';
COMMENT ON COLUMN service.webhooks.failures IS 'Attempts that have failed since the last success.';
COMMENT ON COLUMN service.webhooks.failing_since IS 'When the first of them was; NULL after a success.';
COMMENT ON COLUMN service.webhooks.retry_at IS 'When to try again; NULL for at once.';
COMMENT ON COLUMN service.webhooks.deliveries IS 'Number of attempts so far.';

CREATE TABLE service.webhook_deliveries (
    app_id      uuid        NOT NULL,
    webhook_id  uuid        NOT NULL,
    slot        int         NOT NULL,
    number      bigint      NOT NULL,
    seq         bigint,
    event_id    uuid        NOT NULL,
    type        text        NOT NULL,
    attempt     int         NOT NULL,
    status_code int,
    error       text,
    duration_ms int         NOT NULL,
    at          timestamptz NOT NULL,
    fence       int,
    record      int,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (app_id, webhook_id, slot),
    CONSTRAINT webhook_deliveries_are_the_last_1000 CHECK (slot BETWEEN 0 AND 999 AND slot = number % 1000),
    CONSTRAINT webhook_deliveries_belong_to_a_webhook FOREIGN KEY (app_id, webhook_id)
        REFERENCES service.webhooks (app_id, id) ON DELETE CASCADE
) WITH (fillfactor = 70);
COMMENT ON TABLE service.webhook_deliveries IS
    'The last thousand attempts to deliver of each webhook. A row is written again when its number comes round.';
COMMENT ON COLUMN service.webhook_deliveries.app_id IS 'The tenant.';
COMMENT ON COLUMN service.webhook_deliveries.webhook_id IS 'The webhook.';
COMMENT ON COLUMN service.webhook_deliveries.slot IS 'number modulo 1000, which bounds the table.';
COMMENT ON COLUMN service.webhook_deliveries.number IS 'Counts the attempts of the webhook.';
COMMENT ON COLUMN service.webhook_deliveries.seq IS 'Place of the event in the chain; NULL for a ping.';
COMMENT ON COLUMN service.webhook_deliveries.event_id IS 'The event: webhook-id of the delivery.';
COMMENT ON COLUMN service.webhook_deliveries.type IS 'Its type.';
COMMENT ON COLUMN service.webhook_deliveries.attempt IS 'Which attempt at this event it was: 1, 2, 3 …';
COMMENT ON COLUMN service.webhook_deliveries.status_code IS 'HTTP status of the answer; NULL when there was none.';
COMMENT ON COLUMN service.webhook_deliveries.error IS 'Why it failed, in the words of the service; NULL after a success.';
COMMENT ON COLUMN service.webhook_deliveries.duration_ms IS 'How long it took.';
COMMENT ON COLUMN service.webhook_deliveries.at IS 'When it began, by the clock of the database.';
COMMENT ON COLUMN service.webhook_deliveries.fence IS 'Fence under which it was delivered; NULL for a ping.';
COMMENT ON COLUMN service.webhook_deliveries.record IS 'Number of the record, under that fence, that brought it here; NULL for a ping.';
