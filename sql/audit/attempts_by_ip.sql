-- How often each address attempted something in the last days, with which outcome, by how many keys. Floods count with
-- every attempt that was folded. `app` leaves out attempts that never authenticated: they belong to no app.
--
--   psql [-v days=7] [-v app=UUID] -f sql/audit/attempts_by_ip.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?days} \else \set days 7 \endif
\if :{?app} \else \set app '' \endif

SELECT a.ip,
       sum(a.attempts) AS attempts,
       sum(a.attempts) FILTER (WHERE a.outcome IN ('SUCCEEDED', 'REPLAYED')) AS succeeded,
       sum(a.attempts) FILTER (WHERE a.outcome = 'UNAUTHENTICATED') AS unauthenticated,
       sum(a.attempts) FILTER (WHERE a.outcome = 'FORBIDDEN') AS forbidden,
       sum(a.attempts) FILTER (WHERE a.outcome = 'RATE_LIMITED') AS rate_limited,
       sum(a.attempts) FILTER (
           WHERE a.outcome NOT IN ('SUCCEEDED', 'REPLAYED', 'UNAUTHENTICATED', 'FORBIDDEN', 'RATE_LIMITED')
       ) AS others,
       count(DISTINCT a.actor_client_key) AS client_keys,
       min(a.occurred_at) AS first_at,
       max(a.occurred_at) AS last_at
FROM (SELECT e.*, coalesce((e.request ->> 'folded')::bigint, 1) AS attempts
      FROM audit.entries AS e
      WHERE e.occurred_at >= now() - make_interval(days => :days)
        AND (:'app' = '' OR e.app_id = nullif(:'app', '')::uuid)) AS a
GROUP BY a.ip
ORDER BY attempts DESC, a.ip;
