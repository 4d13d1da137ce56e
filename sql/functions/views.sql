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
           WHEN 'REFUSED' THEN 'refused: rows of ' || e.referencing_table || ' refer to it (' || e.constraint_name || ')'
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
