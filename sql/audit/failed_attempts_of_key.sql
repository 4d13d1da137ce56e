-- All attempts of an API key that changed nothing, in the last days, newest first. Wrong secrets given with its
-- client key count among them; they are in the chain of unauthenticated attempts.
--
--   psql -v client_key=CLIENT_KEY [-v days=7] -f sql/audit/failed_attempts_of_key.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?days} \else \set days 7 \endif

SELECT f.occurred_at,
       f.action,
       f.outcome,
       f.status_code,
       f.customer_id,
       f.attempts,
       f.actor_claimed,
       f.ip,
       coalesce(f.referencing_table, f.error_message) AS because_of,
       f.request_id
FROM audit.failures AS f
WHERE f.actor_client_key = :'client_key'
  AND f.occurred_at >= now() - make_interval(days => :days)
ORDER BY f.occurred_at DESC, f.seq DESC;
