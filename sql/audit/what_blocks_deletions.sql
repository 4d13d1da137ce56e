-- Which foreign keys refuse deletions, how often, and how many customers it concerned; the most frequent first.
--
--   psql [-v app=UUID] -f sql/audit/what_blocks_deletions.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset
\if :{?app} \else \set app '' \endif

SELECT b.app_id,
       b.referencing_table,
       b.constraint_name,
       b.refusals,
       b.customers,
       round(100.0 * b.refusals / sum(b.refusals) OVER (PARTITION BY b.app_id), 1) AS percent_of_app,
       b.first_at,
       b.last_at
FROM audit.blockers AS b
WHERE :'app' = '' OR b.app_id = nullif(:'app', '')::uuid
ORDER BY b.app_id, b.refusals DESC, b.referencing_table, b.constraint_name;
