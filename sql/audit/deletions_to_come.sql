-- Which customers will be deleted within the next days, when, who scheduled it and why, by the trail. A scheduled
-- deletion may still be called off, moved, or refused at its time.
--
--   psql [-v days=7] [-v app=UUID] -f sql/audit/deletions_to_come.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?app} \else \set app '' \endif
\if :{?days} \else \set days 7 \endif

SELECT s.app_id,
       s.customer_id,
       (s.request -> 'schedule' ->> 'delete_at')::timestamptz AS delete_at,
       s.occurred_at AS scheduled_at,
       s.actor_name AS key_name,
       s.actor_claimed,
       s.reason,
       s.seq
FROM (SELECT DISTINCT ON (e.app_id, e.customer_id) e.*
      FROM audit.entries AS e
      WHERE e.action IN ('deletion.schedule', 'deletion.cancel', 'customer.delete')
        AND e.outcome = 'SUCCEEDED'
        AND (:'app' = '' OR e.app_id = nullif(:'app', '')::uuid)
      ORDER BY e.app_id, e.customer_id, e.seq DESC) AS s
WHERE s.action = 'deletion.schedule'
  AND (s.request -> 'schedule' ->> 'delete_at')::timestamptz
      BETWEEN now() AND now() + make_interval(days => :days)
ORDER BY delete_at, s.app_id, s.seq;
