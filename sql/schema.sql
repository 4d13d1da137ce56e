-- The schema of customerd, in the order in which `customerd migrate` applies it, in one transaction.
--
-- tables/: versioned. Never edited once released; a change is a new file with the next number.
-- functions/: current. Applied again whenever their text changes. One file a step of the protocol (docs/protocol.md);
-- the head of each says who calls it and which locks it takes in which order.
-- grants.sql: who may do what. Applied last, every time.

\ir tables/0001_customers.sql
\ir tables/0002_trail.sql
\ir tables/0003_service.sql
\ir tables/0004_deletions.sql
\ir tables/0005_webhooks.sql

\ir functions/canonical.sql
\ir functions/rendering.sql
\ir functions/dependents.sql
\ir functions/guards.sql
\ir functions/permissions.sql
\ir functions/floods.sql
\ir functions/authorization.sql
\ir functions/admission.sql
\ir functions/unit_of_work.sql
\ir functions/tree.sql
\ir functions/append_locks.sql
\ir functions/append.sql
\ir functions/holds.sql
\ir functions/schedule.sql
\ir functions/due_deletions.sql
\ir functions/bulk_deletions.sql
\ir functions/bulk_items.sql
\ir functions/erasure.sql
\ir functions/redaction.sql
\ir functions/retention.sql
\ir functions/reading.sql
\ir functions/events.sql
\ir functions/recovery.sql
\ir functions/references.sql
\ir functions/foreign_code.sql
\ir functions/readable_tables.sql
\ir functions/reached.sql
\ir functions/referring.sql
\ir functions/deletion_check.sql
\ir functions/restoration.sql
\ir functions/reapplied_actions.sql
\ir functions/reapplication.sql
\ir functions/delete_customers.sql
\ir functions/webhooks.sql
\ir functions/webhook_secrets.sql
\ir functions/deliveries.sql
\ir functions/views.sql

\ir grants.sql
