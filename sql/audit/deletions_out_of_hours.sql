-- Customers that were deleted outside working hours: at night, on a Saturday or on a Sunday, by the clock of a time
-- zone. Working hours go from `opens` (inclusive) to `closes` (exclusive), whole hours.
--
--   psql [-v timezone=Europe/Berlin] [-v opens=8] [-v closes=18] [-v app=UUID] -f sql/audit/deletions_out_of_hours.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?timezone} \else \set timezone UTC \endif
\if :{?opens} \else \set opens 8 \endif
\if :{?closes} \else \set closes 18 \endif
\if :{?app} \else \set app '' \endif

SELECT to_char(d.local_time, 'Dy YYYY-MM-DD HH24:MI:SS') AS local_time,
       d.customer_id,
       d.customer_name,
       d.actor,
       d.actor_claimed,
       d.reason,
       d.ip,
       d.app_id,
       d.seq
FROM (SELECT d.*, d.occurred_at AT TIME ZONE :'timezone' AS local_time
      FROM audit.deletions AS d
      WHERE d.outcome = 'SUCCEEDED' AND (:'app' = '' OR d.app_id = nullif(:'app', '')::uuid)) AS d
WHERE extract(isodow FROM d.local_time) >= 6
   OR extract(hour FROM d.local_time) < :opens
   OR extract(hour FROM d.local_time) >= :closes
ORDER BY d.occurred_at DESC, d.app_id, d.seq DESC;
