-- Everything that one actor attempted, oldest first. The actor is a client key, the name of a key, or the person that a
-- client claimed to act for (x-actor-id), which isn't verified.
--
--   psql -v actor=ACTOR [-v app=UUID] -f sql/audit/actor_timeline.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?app} \else \set app '' \endif

SELECT e.occurred_at,
       e.action,
       e.outcome,
       e.status_code,
       e.customer_id,
       coalesce(e.actor_name, e.actor_client_key) AS key_name,
       e.actor_claimed,
       e.reason,
       e.ip,
       e.request_id,
       e.app_id,
       e.seq
FROM audit.entries AS e
WHERE :'actor' IN (e.actor_client_key, e.actor_name, e.actor_claimed)
  AND (:'app' = '' OR e.app_id = nullif(:'app', '')::uuid)
ORDER BY e.occurred_at, e.app_id, e.seq;
