-- The record that an entry keeps, as a row with the types of the table: amounts exact, times as times. No row when the
-- entry has no image, because no customer was found or because it was redacted.
--
--   psql -v entry=UUID -f sql/audit/before_image_as_row.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset

SELECT r.*
FROM audit.entries AS e
CROSS JOIN jsonb_to_record(e.before_image) AS r (
    id                 uuid,
    first_name         text,
    last_name          text,
    email              text,
    phone_number       text,
    status             text,
    customer_type      text,
    last_spent         numeric(18, 2),
    last_purchase_date timestamptz,
    "appId"            text,
    "createdAt"        timestamptz,
    "updatedAt"        timestamptz)
WHERE e.id = :'entry' AND e.before_image IS NOT NULL;
