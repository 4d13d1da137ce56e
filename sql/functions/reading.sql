-- Reading the trail: entries as the API shows them. Called by the audit operations and by the export of a customer.
-- Takes no locks. Bodies of standard SQL, as in rendering.sql.

CREATE OR REPLACE FUNCTION service.audit_entry(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    SELECT row_to_json(r)::text
    FROM (SELECT e.seq,
                 e.id,
                 e.app_id,
                 service.rfc3339(e.occurred_at) AS occurred_at,
                 service.rfc3339(e.recorded_at) AS recorded_at,
                 e.action,
                 e.outcome,
                 e.status_code,
                 e.customer_id,
                 CASE WHEN NOT hidden.yes THEN e.before_image END AS before_image,
                 e.actor_key_id,
                 e.actor_client_key,
                 e.actor_name,
                 e.actor_role,
                 e.actor_claimed,
                 CASE WHEN NOT hidden.yes THEN e.reason END AS reason,
                 e.ip,
                 e.user_agent,
                 e.request_id,
                 e.idempotency_key,
                 e.request,
                 e.error_code,
                 e.sqlstate,
                 e.constraint_name,
                 e.referencing_table,
                 CASE WHEN NOT hidden.yes THEN e.error_message END AS error_message,
                 encode(e.previous_hash, 'hex') AS previous_hash,
                 encode(e.hash, 'hex') AS hash,
                 encode(e.subject_commitment, 'hex') AS subject_commitment,
                 encode(e.context_commitment, 'hex') AS context_commitment
          FROM (SELECT service.is_under_redaction(e.app_id, e.customer_id, e.seq) AS yes) AS hidden) AS r);
COMMENT ON FUNCTION service.audit_entry(audit.entries) IS
    'An audit entry as the API renders it: its columns in order, without the salts, with which an erased value could be guessed, and without what a redaction is about to erase.';

CREATE OR REPLACE FUNCTION service.audit_proof(e audit.entries) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
RETURN left(service.audit_entry(e), -1)
    || ',"subject_salt":' || coalesce(
        CASE WHEN NOT service.is_under_redaction(e.app_id, e.customer_id, e.seq)
             THEN '"' || encode(e.subject_salt, 'hex') || '"' END, 'null')
    || ',"context_salt":' || coalesce('"' || encode(e.context_salt, 'hex') || '"', 'null')
    || '}';
COMMENT ON FUNCTION service.audit_proof(audit.entries) IS
    'The same with the salts, so that a reader can compute the hashes: docs/audit-chain.md.';

-- Called by the list of customers. Folded first and then escaped, because folding makes a wildcard of a full-width one.
CREATE OR REPLACE FUNCTION service.containing(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '%' || replace(replace(replace(service.caseless(p_text), '\', '\\'), '%', '\%'), '_', '\_') || '%';
COMMENT ON FUNCTION service.containing(text) IS
    'A pattern for LIKE that matches what contains a text, as the searchable columns hold it.';
