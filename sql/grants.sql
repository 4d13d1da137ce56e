-- Who may do what. Applied last, at every migration: what is missing is granted, what isn't listed is revoked from the
-- two roles and from PUBLIC. Other roles keep what an operator granted them.
--
-- The list is a view, so that `serve` and `doctor` check what the database itself says the roles need. The tables of
-- the protocol aren't in it: they are reached through the protocol's functions alone. `schema.*` stands for everything
-- of that kind in the schema.

CREATE OR REPLACE VIEW service.privileges (role, privilege, kind, object) AS
SELECT l.role, p.privilege, l.kind, o.name
FROM (VALUES
    ('service', 'USAGE', 'schema', '{public,audit,service}'::text[]),
    ('service', 'SELECT INSERT UPDATE DELETE', 'table', '{public.customers}'),
    ('service', 'SELECT DELETE', 'table', '{public.legal_holds}'),
    ('service', 'SELECT', 'table', '{
        public.invoices, public.payment_links, public.transactions, public.liquidation_addresses,
        audit.*,
        service.migrations, service.applied_functions, service.privileges, service.dependents, service.redactions}'),
    ('service', 'EXECUTE', 'function', '{
        service.rfc3339, service.record, service.further_columns, service.image, service.image_with_columns,
        service.imaged_record,
        service.etag, service.changed_members,
        service.invoice, service.payment_link, service.transaction, service.liquidation_address,
        service.audit_entry, service.audit_proof, service.is_under_redaction, service.events, service.listening,
        service.caseless, service.containing, service.list_customers,
        service.authorize, service.describe_key, service.admit, service.fold_answered, service.enter, service.finish,
        service.settle,
        service.append, service.append_each, service.release, service.overdue, service.recover, service.purge,
        service.audit_lag,
        service.cascading, service.refusal, service.key_closure, service.has_acting_keys,
        service.foreign_code, service.refuse_foreign_code, service.reached_rows,
        service.try_deletion, service.reference_item, service.deletion_check,
        service.referring_tables, service.referring_rows,
        service.await_redactions, service.redact, service.erase, service.erase_next,
        service.record_deletion, service.last_deletion, service.insert_image,
        service.pending_deletion,
        service.legal_hold, service.is_held, service.place_hold, service.release_hold,
        service.find_schedules, service.schedule_deletion, service.cancel_deletion, service.due_apps,
        service.take_due_deletions,
        service.end_scheduled_deletion, service.schedule_lag,
        service.bulk_state, service.find_bulks, service.bulk_results, service.create_bulk, service.cancel_bulk,
        service.bulk_apps, service.bulk_lag, service.take_bulk_items,
        service.end_bulk_items, service.retention_apps, service.retain, service.forget_samples,
        service.open_item, service.check_item, service.finish_bulk,
        service.list_webhooks, service.list_webhook_deliveries, service.create_webhook, service.change_webhook,
        service.delete_webhook, service.rotate_webhook_secret, service.replay_webhook, service.webhook_to_ping,
        service.claim_webhooks, service.note_deliveries, service.record_deliveries,
        service.webhook_secrets, service.reseal_webhook, service.webhook_lag}'),
    ('auditor', 'USAGE', 'schema', '{audit}'),
    ('auditor', 'SELECT', 'table', '{audit.*}'),
    ('auditor', 'EXECUTE', 'function', '{audit.*}')
) AS l (role, privileges, kind, objects)
CROSS JOIN LATERAL unnest(string_to_array(l.privileges, ' ')) AS p (privilege)
CROSS JOIN LATERAL (
    SELECT w.name
    FROM unnest(l.objects) AS w (name)
    WHERE right(w.name, 2) <> '.*'
    UNION
    SELECT n.nspname || '.' || t.relname
    FROM pg_class AS t
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    WHERE l.kind = 'table' AND n.nspname || '.*' = ANY (l.objects) AND t.relkind IN ('r', 'p', 'v', 'm')
    UNION
    SELECT n.nspname || '.' || f.proname
    FROM pg_proc AS f
    JOIN pg_namespace AS n ON n.oid = f.pronamespace
    WHERE l.kind = 'function' AND n.nspname || '.*' = ANY (l.objects)) AS o (name);
COMMENT ON VIEW service.privileges IS
    'What the service''s role and the auditor''s role may do: customerd migrate grants exactly this, serve and doctor check it.';

-- For all schemas: a default of one schema can only add to PUBLIC's default privileges, never remove one.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

SELECT set_config('customerd.service', :'service', true), set_config('customerd.auditor', :'auditor', true);

DO $$
DECLARE
    v_statement text;
BEGIN
    FOR v_statement IN
        WITH grantees (role, oid) AS (
            VALUES ('service', to_regrole(quote_ident(current_setting('customerd.service')))::oid),
                   ('auditor', to_regrole(quote_ident(current_setting('customerd.auditor')))::oid),
                   ('PUBLIC', 0::oid)
        ), present (kind, object, target, acl) AS (
            -- Schema public belongs to the database; the migrator looks after it.
            SELECT 'schema', n.nspname::text, n.nspname::text, coalesce(n.nspacl, acldefault('n', n.nspowner))
            FROM pg_namespace AS n
            WHERE n.nspname IN ('audit', 'service')
            UNION ALL
            SELECT 'table', o.name, o.name, coalesce(t.relacl, acldefault('r', t.relowner))
            FROM pg_class AS t
            JOIN pg_namespace AS n ON n.oid = t.relnamespace
            CROSS JOIN LATERAL (SELECT n.nspname || '.' || t.relname) AS o (name)
            WHERE t.relkind IN ('r', 'p', 'v', 'm')
              AND (n.nspname IN ('audit', 'service') OR o.name IN (SELECT w.object FROM service.privileges AS w))
            UNION ALL
            SELECT 'function', n.nspname || '.' || f.proname, f.oid::regprocedure::text,
                   coalesce(f.proacl, acldefault('f', f.proowner))
            FROM pg_proc AS f
            JOIN pg_namespace AS n ON n.oid = f.pronamespace
            WHERE n.nspname IN ('audit', 'service')
        ), present_columns AS (
            SELECT n.nspname || '.' || t.relname AS object, a.attname, x.grantee, x.privilege_type
            FROM pg_attribute AS a
            JOIN pg_class AS t ON t.oid = a.attrelid
            JOIN pg_namespace AS n ON n.oid = t.relnamespace
            CROSS JOIN LATERAL aclexplode(a.attacl) AS x
            WHERE n.nspname IN ('audit', 'service')
        )
        SELECT format('REVOKE %s ON %s %s FROM %s', x.privilege_type, h.kind, h.target,
                      CASE g.oid WHEN 0 THEN 'PUBLIC' ELSE g.oid::regrole::text END)
        FROM present AS h
        CROSS JOIN LATERAL aclexplode(h.acl) AS x
        JOIN grantees AS g ON g.oid = x.grantee
        WHERE NOT EXISTS (
            SELECT
            FROM service.privileges AS w
            WHERE (w.role, w.privilege, w.kind, w.object) = (g.role, x.privilege_type, h.kind, h.object))
        UNION ALL
        SELECT format('REVOKE %s (%I) ON TABLE %s FROM %s', c.privilege_type, c.attname, c.object,
                      CASE g.oid WHEN 0 THEN 'PUBLIC' ELSE g.oid::regrole::text END)
        FROM present_columns AS c
        JOIN grantees AS g ON g.oid = c.grantee
        UNION ALL
        SELECT format('GRANT %s ON %s %s TO %s', w.privilege, h.kind, h.target, g.oid::regrole)
        FROM service.privileges AS w
        JOIN grantees AS g ON g.role = w.role
        JOIN present AS h ON (h.kind, h.object) = (w.kind, w.object)
        WHERE NOT EXISTS (
            SELECT
            FROM aclexplode(h.acl) AS x
            WHERE x.grantee = g.oid AND x.privilege_type = w.privilege)
    LOOP
        EXECUTE v_statement;
    END LOOP;
END
$$;
