-- Who deleted a customer, when, from where, why, and what was in the record.
-- A redacted customer's record is gone; who, when and from where stay.
--
--   psql -v customer=UUID [-v app=UUID] -f sql/audit/who_deleted_customer.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?app} \else \set app '' \endif

SELECT e.occurred_at,
       coalesce(e.actor_name, e.actor_client_key) AS key_name,
       e.actor_client_key,
       e.actor_role,
       e.actor_claimed,
       e.reason,
       e.ip,
       e.request_id,
       e.app_id,
       e.seq,
       e.id AS entry,
       jsonb_pretty(e.before_image) AS record
FROM audit.entries AS e
WHERE e.customer_id = :'customer'
  AND e.action = 'customer.delete'
  AND e.outcome = 'SUCCEEDED'
  AND (:'app' = '' OR e.app_id = nullif(:'app', '')::uuid)
ORDER BY e.occurred_at, e.seq;
