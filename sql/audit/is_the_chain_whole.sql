-- Whether the chain of an app is whole: recomputes every commitment and hash, and names the first entry that is broken.
-- The rules are those of docs/audit-chain.md. It trusts the functions of the schema audit, which could have been
-- altered together with the trail: `customerd audit verify` trusts nothing but the rows.
--
--   psql -v app=UUID -f sql/audit/is_the_chain_whole.sql

\set ON_ERROR_STOP on
-- Nothing that others created in the schema public runs as you.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false) AS search_path \gset

WITH chain AS (
    SELECT e.seq,
           coalesce(lag(e.seq) OVER walk, 0) AS last_seq,
           coalesce(lag(e.hash) OVER walk, decode(repeat('00', 32), 'hex')) AS last_hash,
           e.previous_hash,
           e.hash,
           e.hash = audit.hash(e) AS hash_holds,
           CASE
               WHEN e.context_salt IS NOT NULL
                   THEN e.context_commitment = audit.hmac_sha256(e.context_salt, audit.context(e))
               ELSE num_nonnulls(e.actor_claimed, e.ip, e.user_agent) = 0
                    AND EXISTS (
                        SELECT
                        FROM audit.entries AS r
                        WHERE r.app_id = e.app_id
                          AND r.seq > e.seq
                          AND r.action = 'trail.retention'
                          AND r.outcome = 'SUCCEEDED'
                          AND r.context_salt IS NOT NULL
                          AND (r.request ->> 'up_to')::bigint >= e.seq) END AS context_holds,
           CASE
               WHEN e.subject_salt IS NOT NULL
                   THEN e.subject_commitment = audit.hmac_sha256(e.subject_salt, audit.subject(e))
               ELSE num_nonnulls(e.before_image, e.reason, e.error_message) = 0
                    AND EXISTS (
                        SELECT
                        FROM audit.entries AS r
                        WHERE r.app_id = e.app_id
                          AND r.customer_id = e.customer_id
                          AND r.seq > e.seq
                          AND r.action = 'customer.redact'
                          AND r.outcome = 'SUCCEEDED') END AS subject_holds
    FROM audit.entries AS e
    WHERE e.app_id = :'app'
    WINDOW walk AS (ORDER BY e.seq)),
head AS (
    SELECT coalesce(max(h.seq), 0) AS seq, coalesce(max(encode(h.hash, 'hex')), repeat('00', 32)) AS hash
    FROM audit.heads AS h
    WHERE h.app_id = :'app'),
tail AS (
    SELECT coalesce(max(c.seq), 0) AS seq,
           coalesce(max(encode(c.hash, 'hex')) FILTER (WHERE c.seq = c.top), repeat('00', 32)) AS hash
    FROM (SELECT c.*, max(c.seq) OVER () AS top FROM chain AS c) AS c),
trace AS (
    SELECT t.seq, t.source
    FROM audit.traces AS t
    WHERE t.app_id = :'app'
    ORDER BY t.seq DESC
    LIMIT 1),
faults AS (
    SELECT least(c.seq, c.last_seq + 1) AS seq,
           1 AS rank,
           CASE
               WHEN c.seq <> c.last_seq + 1 THEN 'missing'
               WHEN c.previous_hash <> c.last_hash THEN 'the chain doesn''t connect'
               ELSE 'changed' END AS reason
    FROM chain AS c
    WHERE c.seq <> c.last_seq + 1
       OR c.previous_hash <> c.last_hash
       OR (c.context_holds AND c.subject_holds AND c.hash_holds) IS NOT true
    UNION ALL
    SELECT least(head.seq, tail.seq) + 1, 2, 'cut: the head says ' || head.seq || ', the last entry is ' || tail.seq
    FROM head, tail
    WHERE head.seq <> tail.seq
    UNION ALL
    SELECT tail.seq, 3, 'the head has another hash'
    FROM head, tail
    WHERE head.seq = tail.seq AND head.hash <> tail.hash
    UNION ALL
    SELECT tail.seq + 1, 4, 'missing: ' || trace.source || ' refers to entry ' || trace.seq
    FROM trace, tail
    WHERE trace.seq > tail.seq)
SELECT (SELECT count(*) FROM chain) AS entries,
       NOT EXISTS (SELECT FROM faults) AS is_whole,
       (SELECT min(f.seq) FROM faults AS f) AS broken_at,
       (SELECT f.reason FROM faults AS f ORDER BY f.seq, f.rank LIMIT 1) AS reason;
