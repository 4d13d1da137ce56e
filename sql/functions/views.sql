-- What auditors read first. Views run with the rights of their owner; they take no locks.

CREATE OR REPLACE VIEW audit.deletions AS
SELECT e.app_id,
       e.seq,
       e.occurred_at,
       e.outcome,
       e.status_code,
       e.customer_id,
       nullif(concat_ws(' ', e.before_image ->> 'first_name', e.before_image ->> 'last_name'), '') AS customer_name,
       coalesce(e.actor_name, e.actor_client_key, 'unknown') AS actor,
       e.actor_role,
       e.actor_claimed,
       e.reason,
       e.ip,
       CASE e.outcome
           WHEN 'SUCCEEDED' THEN 'deleted'
           WHEN 'REFUSED'
           THEN 'refused: rows of ' || e.referencing_table || ' refer to it (' || e.constraint_name || ')'
           WHEN 'NOT_FOUND' THEN 'no such customer'
           WHEN 'INVALID' THEN 'malformed request: ' || coalesce(e.error_message, '')
           WHEN 'UNAUTHENTICATED' THEN 'wrong credentials'
           WHEN 'FORBIDDEN' THEN 'the key lacks the permission'
           WHEN 'RATE_LIMITED' THEN 'over the rate limit'
           WHEN 'CONFLICT' THEN coalesce(e.error_message, 'conflict')
           WHEN 'REPLAYED' THEN 'answered again from the stored answer'
           WHEN 'INTERRUPTED' THEN 'cut off before an answer; nothing was deleted'
           WHEN 'FAILED' THEN 'failed: ' || coalesce(e.error_message, '')
       END || coalesce(' × ' || (e.request ->> 'folded'), '') AS what_happened,
       e.request_id,
       e.id
FROM audit.entries AS e
WHERE e.action = 'customer.delete'
   OR (e.action = 'customer.bulk-delete' AND e.outcome NOT IN ('SUCCEEDED', 'REPLAYED'));
COMMENT ON VIEW audit.deletions IS 'One readable line an attempt to delete; the customers of a bulk request have a line each.';

CREATE OR REPLACE VIEW audit.failures AS
SELECT e.app_id, e.seq, e.occurred_at, e.action, e.outcome, e.status_code, e.customer_id, e.actor_client_key,
       e.actor_name, e.actor_claimed, e.ip, e.error_code, e.sqlstate, e.constraint_name, e.referencing_table,
       e.error_message, coalesce((e.request ->> 'folded')::bigint, 1) AS attempts, e.request_id, e.id
FROM audit.entries AS e
WHERE e.outcome NOT IN ('SUCCEEDED', 'REPLAYED');
COMMENT ON VIEW audit.failures IS 'Every attempt that changed nothing, of whatever action. attempts > 1 where a flood was folded.';

CREATE OR REPLACE VIEW audit.by_actor AS
SELECT e.app_id, e.actor_key_id, e.actor_client_key, e.actor_name, e.actor_role, e.action, e.outcome,
       sum(coalesce((e.request ->> 'folded')::bigint, 1))::bigint AS attempts,
       min(e.occurred_at) AS first_at,
       max(e.occurred_at) AS last_at
FROM audit.entries AS e
GROUP BY e.app_id, e.actor_key_id, e.actor_client_key, e.actor_name, e.actor_role, e.action, e.outcome;
COMMENT ON VIEW audit.by_actor IS 'How often each key attempted what, with which outcome.';

CREATE OR REPLACE VIEW audit.blockers AS
SELECT e.app_id, e.referencing_table, e.constraint_name,
       count(*) AS refusals,
       count(DISTINCT e.customer_id) AS customers,
       min(e.occurred_at) AS first_at,
       max(e.occurred_at) AS last_at
FROM audit.entries AS e
WHERE e.outcome = 'REFUSED'
GROUP BY e.app_id, e.referencing_table, e.constraint_name;
COMMENT ON VIEW audit.blockers IS 'Which constraints refuse deletions, and how often.';

CREATE OR REPLACE VIEW audit.traces AS
WITH RECURSIVE apps AS (
    (SELECT a.app_id FROM service.attempts AS a ORDER BY a.app_id LIMIT 1)
    UNION ALL
    SELECT (SELECT a.app_id FROM service.attempts AS a WHERE a.app_id > apps.app_id ORDER BY a.app_id LIMIT 1)
    FROM apps
    WHERE apps.app_id IS NOT NULL
), folded AS (
    (SELECT n.app_id FROM audit.nodes AS n ORDER BY n.app_id LIMIT 1)
    UNION ALL
    SELECT (SELECT n.app_id FROM audit.nodes AS n WHERE n.app_id > folded.app_id ORDER BY n.app_id LIMIT 1)
    FROM folded
    WHERE folded.app_id IS NOT NULL
), signed AS (
    (SELECT c.app_id FROM audit.checkpoints AS c ORDER BY c.app_id LIMIT 1)
    UNION ALL
    SELECT (SELECT c.app_id FROM audit.checkpoints AS c WHERE c.app_id > signed.app_id ORDER BY c.app_id LIMIT 1)
    FROM signed
    WHERE signed.app_id IS NOT NULL)
-- Some attempts of each app, and the last ones of all apps: an index leads to both, however many attempts there are.
SELECT attempts.app_id, max(attempts.entry_seq) AS seq, 'service.attempts' AS source
FROM (SELECT a.app_id, a.entry_seq
      FROM apps
      CROSS JOIN LATERAL (SELECT o.app_id, o.entry_seq
                          FROM service.attempts AS o
                          WHERE o.app_id = apps.app_id AND o.entry_seq IS NOT NULL
                          ORDER BY o.attempt_id
                          LIMIT 1000) AS a
      UNION ALL
      (SELECT a.app_id, a.entry_seq
       FROM service.attempts AS a
       WHERE a.expires_at IS NOT NULL
       ORDER BY a.expires_at DESC
       LIMIT 1000)) AS attempts
GROUP BY attempts.app_id
UNION ALL
SELECT k.app_id, 1, 'service.api_keys'
FROM service.api_keys AS k
WHERE k.is_recorded
GROUP BY k.app_id
UNION ALL
SELECT r.app_id, max(r.entry_seq), 'service.redactions'
FROM service.redactions AS r
WHERE r.entry_seq IS NOT NULL
GROUP BY r.app_id
UNION ALL
SELECT r.app_id, r.declared_to, 'service.retentions'
FROM service.retentions AS r
WHERE r.declared_to > 0
UNION ALL
SELECT l.app_id, (l.last + 1) * 256, 'audit.nodes'
FROM (SELECT folded.app_id,
             (SELECT n.index
              FROM audit.nodes AS n
              WHERE n.app_id = folded.app_id AND n.level = 1
              ORDER BY n.index DESC
              LIMIT 1) AS last
      FROM folded
      WHERE folded.app_id IS NOT NULL) AS l
WHERE l.last IS NOT NULL
UNION ALL
SELECT l.app_id, l.last, 'audit.checkpoints'
FROM (SELECT signed.app_id,
             (SELECT c.size
              FROM audit.checkpoints AS c
              WHERE c.app_id = signed.app_id
              ORDER BY c.size DESC
              LIMIT 1) AS last
      FROM signed
      WHERE signed.app_id IS NOT NULL) AS l
WHERE l.last IS NOT NULL;
COMMENT ON VIEW audit.traces IS
    'What other tables say about the length of a chain: it has at least seq entries. By audit verify, so that a trail that was wiped together with its heads doesn''t pass for an empty one.';
