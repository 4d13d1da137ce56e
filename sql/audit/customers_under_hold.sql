-- Which customers are under a hold now, since when, by whom and why, by the trail. The reason of a hold whose customer
-- was redacted later is gone.
--
--   psql [-v app=UUID] -f sql/audit/customers_under_hold.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?app} \else \set app '' \endif

SELECT h.app_id,
       h.customer_id,
       h.occurred_at AS since,
       (h.request -> 'hold' ->> 'until')::timestamptz AS until,
       h.actor_name AS key_name,
       h.actor_claimed,
       h.reason,
       h.seq
FROM (SELECT DISTINCT ON (e.app_id, e.customer_id) e.*
      FROM audit.entries AS e
      WHERE e.action IN ('hold.place', 'hold.release', 'customer.delete')
        AND e.outcome = 'SUCCEEDED'
        AND (:'app' = '' OR e.app_id = nullif(:'app', '')::uuid)
      ORDER BY e.app_id, e.customer_id, e.seq DESC) AS h
WHERE h.action = 'hold.place'
  AND coalesce((h.request -> 'hold' ->> 'until')::timestamptz > now(), true)
ORDER BY h.app_id, h.occurred_at, h.seq;
