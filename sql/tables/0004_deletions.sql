-- The life of a deletion: what keeps one from happening, and what makes one happen later.

CREATE TABLE public.legal_holds (
    app_id      uuid        NOT NULL,
    customer_id uuid        NOT NULL,
    reason      text        NOT NULL,
    until       timestamptz,
    placed_at   timestamptz NOT NULL,
    placed_by   text        NOT NULL,
    CONSTRAINT legal_holds_pkey PRIMARY KEY (app_id, customer_id),
    CONSTRAINT legal_holds_keep_a_customer FOREIGN KEY (app_id, customer_id)
        REFERENCES public.customers (app_id, id) ON UPDATE RESTRICT ON DELETE RESTRICT,
    CONSTRAINT legal_holds_reason_has_1_to_500_characters CHECK (char_length(reason) BETWEEN 1 AND 500)
);
ALTER TABLE public.legal_holds ALTER COLUMN reason SET STATISTICS 0;
COMMENT ON TABLE public.legal_holds IS
    'Customers that must be kept, for example for a lawsuit. A hold forbids deletion by its foreign key, and redaction too, until it is released or its time is over.';
COMMENT ON COLUMN public.legal_holds.app_id IS 'The tenant.';
COMMENT ON COLUMN public.legal_holds.customer_id IS 'The customer that is kept; at most one hold each.';
COMMENT ON COLUMN public.legal_holds.reason IS 'Why, as the client says. It may be personal data: a redaction erases it.';
COMMENT ON COLUMN public.legal_holds.until IS 'From when on it no longer holds; NULL for until it is released.';
COMMENT ON COLUMN public.legal_holds.placed_at IS 'When it was placed or last replaced.';
COMMENT ON COLUMN public.legal_holds.placed_by IS 'Name of the API key that did so.';

CREATE TYPE service.schedule_status AS ENUM (
    'SCHEDULED', 'DELETED', 'REFUSED', 'NOT_FOUND', 'FORBIDDEN', 'CANCELLED');
COMMENT ON TYPE service.schedule_status IS
    'SCHEDULED: the deletion is to come. CANCELLED: it was called off. The others: how it ended.';

CREATE TYPE service.due_deletion AS (
    app_id      uuid,
    customer_id uuid,
    attempt_id  uuid,
    fence       int
);
COMMENT ON TYPE service.due_deletion IS 'A scheduled deletion whose time has come, with the attempt that its taker is to run.';

CREATE TABLE service.scheduled_deletions (
    app_id       uuid                    NOT NULL,
    customer_id  uuid                    NOT NULL,
    delete_at    timestamptz             NOT NULL,
    status       service.schedule_status NOT NULL DEFAULT 'SCHEDULED',
    reason       text,
    key_id       uuid                    NOT NULL,
    scheduled_by uuid                    NOT NULL,
    attempt_id   uuid,
    try_after    timestamptz             NOT NULL,
    tries        int                     NOT NULL DEFAULT 0,
    CONSTRAINT scheduled_deletions_pkey PRIMARY KEY (app_id, customer_id),
    CONSTRAINT scheduled_deletions_reason_has_at_most_500_characters CHECK (char_length(reason) <= 500)
);
ALTER TABLE service.scheduled_deletions ALTER COLUMN reason SET STATISTICS 0;
CREATE INDEX scheduled_deletions_to_come ON service.scheduled_deletions (try_after) WHERE status = 'SCHEDULED';
CREATE INDEX scheduled_deletions_by_time ON service.scheduled_deletions (app_id, delete_at, customer_id);
COMMENT ON TABLE service.scheduled_deletions IS
    'Deletions that are to happen at a time, at most one a customer, and how the last of each customer ended.';
COMMENT ON COLUMN service.scheduled_deletions.app_id IS 'The tenant.';
COMMENT ON COLUMN service.scheduled_deletions.customer_id IS 'The customer. No foreign key: the schedule doesn''t keep it, and outlives it.';
COMMENT ON COLUMN service.scheduled_deletions.delete_at IS 'When it is to be deleted, by the clock of the database.';
COMMENT ON COLUMN service.scheduled_deletions.status IS 'Whether it is still to come, or how it ended.';
COMMENT ON COLUMN service.scheduled_deletions.reason IS 'Why, for the entry of the deletion. It may be personal data: a redaction erases it.';
COMMENT ON COLUMN service.scheduled_deletions.key_id IS 'The API key as which the deletion runs: the one that scheduled it.';
COMMENT ON COLUMN service.scheduled_deletions.scheduled_by IS 'The attempt that scheduled or last moved it.';
COMMENT ON COLUMN service.scheduled_deletions.attempt_id IS 'The last attempt to delete, whose outcome decides; NULL before its time has come.';
COMMENT ON COLUMN service.scheduled_deletions.try_after IS 'Not before this time: delete_at, or the end of the lease of the instance that runs it, or of a pause after a failure.';
COMMENT ON COLUMN service.scheduled_deletions.tries IS 'Attempts that failed or were interrupted.';

CREATE TYPE service.bulk_status AS ENUM ('RUNNING', 'DONE', 'CANCELLED');
COMMENT ON TYPE service.bulk_status IS 'Of a bulk deletion. CANCELLED: the items that were left are not deleted.';

CREATE TYPE service.due_item AS (
    app_id      uuid,
    bulk_id     uuid,
    "position"  int,
    customer_id uuid,
    attempt_id  uuid,
    fence       int
);
COMMENT ON TYPE service.due_item IS
    'An item of a bulk deletion, with the attempt that its taker is to run; without one it is to be checked only, for a dry run.';

CREATE TABLE service.bulk_deletions (
    app_id     uuid                NOT NULL,
    bulk_id    uuid                NOT NULL,
    status     service.bulk_status NOT NULL DEFAULT 'RUNNING',
    dry_run    boolean             NOT NULL,
    reason     text,
    key_id     uuid                NOT NULL,
    created_at timestamptz         NOT NULL,
    try_after  timestamptz         NOT NULL,
    is_over    boolean             NOT NULL DEFAULT false,
    total      int                 NOT NULL,
    deleted    int                 NOT NULL DEFAULT 0,
    refused    int                 NOT NULL DEFAULT 0,
    not_found  int                 NOT NULL DEFAULT 0,
    failed     int                 NOT NULL DEFAULT 0,
    CONSTRAINT bulk_deletions_pkey PRIMARY KEY (app_id, bulk_id),
    CONSTRAINT bulk_deletions_end_no_more_items_than_they_have CHECK (deleted + refused + not_found + failed <= total),
    CONSTRAINT bulk_deletions_keep_no_reason_once_over CHECK (NOT is_over OR reason IS NULL)
);
ALTER TABLE service.bulk_deletions ALTER COLUMN reason SET STATISTICS 0;
CREATE INDEX bulk_deletions_to_do ON service.bulk_deletions (try_after) WHERE NOT is_over;
CREATE INDEX bulk_deletions_by_age ON service.bulk_deletions (app_id, created_at, bulk_id);
COMMENT ON TABLE service.bulk_deletions IS 'Large bulk deletions, which run in the background. Forgotten after 30 days, when the app begins another.';
COMMENT ON COLUMN service.bulk_deletions.app_id IS 'The tenant.';
COMMENT ON COLUMN service.bulk_deletions.bulk_id IS 'The bulk deletion; also the id of the attempt that asked for it.';
COMMENT ON COLUMN service.bulk_deletions.status IS 'RUNNING, DONE or CANCELLED.';
COMMENT ON COLUMN service.bulk_deletions.dry_run IS 'Whether its items are only checked.';
COMMENT ON COLUMN service.bulk_deletions.reason IS 'Why, for the entries of its items; erased when it is over, since no redaction would find it here.';
COMMENT ON COLUMN service.bulk_deletions.key_id IS 'The API key as which it runs.';
COMMENT ON COLUMN service.bulk_deletions.created_at IS 'When it was asked for.';
COMMENT ON COLUMN service.bulk_deletions.try_after IS 'Not before this time: the end of the lease of the instance that works on it, or of a pause.';
COMMENT ON COLUMN service.bulk_deletions.is_over IS 'Whether no item is left that is or may be under way.';
COMMENT ON COLUMN service.bulk_deletions.total IS 'Items.';
COMMENT ON COLUMN service.bulk_deletions.deleted IS 'Items that were deleted; in a dry run, that would be.';
COMMENT ON COLUMN service.bulk_deletions.refused IS 'Items that foreign keys refused to delete.';
COMMENT ON COLUMN service.bulk_deletions.not_found IS 'Items that were no customers of the app.';
COMMENT ON COLUMN service.bulk_deletions.failed IS 'Items whose deletion failed or was forbidden.';

CREATE TABLE service.bulk_items (
    app_id      uuid NOT NULL,
    bulk_id     uuid NOT NULL,
    "position"  int  NOT NULL,
    customer_id uuid NOT NULL,
    attempt_id  uuid,
    outcome     service.outcome,
    CONSTRAINT bulk_items_pkey PRIMARY KEY (app_id, bulk_id, "position"),
    CONSTRAINT bulk_items_belong_to_a_bulk_deletion FOREIGN KEY (app_id, bulk_id)
        REFERENCES service.bulk_deletions (app_id, bulk_id) ON DELETE CASCADE
);
CREATE INDEX bulk_items_to_do ON service.bulk_items (app_id, bulk_id, "position") WHERE outcome IS NULL;
CREATE INDEX bulk_items_taken ON service.bulk_items (app_id, bulk_id, "position")
    WHERE outcome IS NULL AND attempt_id IS NOT NULL;
COMMENT ON TABLE service.bulk_items IS 'The customers of a bulk deletion, in the order asked.';
COMMENT ON COLUMN service.bulk_items.app_id IS 'The tenant.';
COMMENT ON COLUMN service.bulk_items.bulk_id IS 'The bulk deletion.';
COMMENT ON COLUMN service.bulk_items."position" IS '1, 2, 3 … in the order asked.';
COMMENT ON COLUMN service.bulk_items.customer_id IS 'The customer to be deleted.';
COMMENT ON COLUMN service.bulk_items.attempt_id IS 'The attempt that deletes it, whose outcome decides; also the id of its entry. NULL before, and in a dry run.';
COMMENT ON COLUMN service.bulk_items.outcome IS 'How its deletion ended, or in a dry run would; NULL until it is known.';

CREATE TABLE service.retentions (
    app_id      uuid   NOT NULL,
    declared_to bigint NOT NULL DEFAULT 0,
    erased_to   bigint NOT NULL DEFAULT 0,
    CONSTRAINT retentions_pkey PRIMARY KEY (app_id),
    CONSTRAINT retentions_erase_what_is_declared CHECK (erased_to <= declared_to)
);
COMMENT ON TABLE service.retentions IS 'How far the context of the entries of each chain is erased because of its age.';
COMMENT ON COLUMN service.retentions.app_id IS 'The chain.';
COMMENT ON COLUMN service.retentions.declared_to IS 'The last entry trail.retention declares that the context of entries up to this seq is erased.';
COMMENT ON COLUMN service.retentions.erased_to IS 'It is erased up to this seq.';

CREATE INDEX entries_of_retentions ON audit.entries (app_id, seq)
    WHERE action = 'trail.retention' AND outcome = 'SUCCEEDED';

CREATE INDEX entries_reapplied ON audit.entries (app_id, (request ->> 'reapplied_from'))
    WHERE request ? 'reapplied_from';
