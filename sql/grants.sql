-- Who may do what. Applied last, at every migration, so this page is the whole truth:
--
--                                    service                        auditor
--   public.customers                 SELECT INSERT UPDATE DELETE    –
--   public: what refers to them      SELECT                         –
--   audit: tables and views          SELECT                         SELECT
--   audit: functions                 –                              EXECUTE
--   service.migrations, dependents,  SELECT                         –
--   redactions
--   service: functions of the        EXECUTE                        –
--   protocol
--
-- The tables of the protocol are reached through its functions alone.

REVOKE ALL ON ALL TABLES IN SCHEMA audit, service FROM PUBLIC, :"service", :"auditor";
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit, service FROM PUBLIC, :"service", :"auditor";
-- For all schemas: a default of one schema can only add to what PUBLIC has by itself, never take from it.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA public, audit, service TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON public.customers TO :"service";
GRANT SELECT ON public.invoices, public.payment_links, public.transactions, public.liquidation_addresses TO :"service";
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO :"service";
GRANT SELECT ON service.migrations, service.dependents, service.redactions TO :"service";
GRANT EXECUTE ON FUNCTION
    service.rfc3339, service.record, service.image, service.etag, service.redacted, service.changed_members,
    service.invoice, service.payment_link, service.transaction, service.liquidation_address,
    service.audit_entry, service.audit_proof, service.is_under_redaction,
    service.authorize, service.admit, service.hold, service.finish, service.settle, service.append, service.append_each,
    service.release, service.overdue, service.recover, service.purge, service.audit_lag,
    service.is_reference_to_customers, service.deletion_check,
    service.await_redactions, service.redact, service.erase, service.erase_next,
    service.record_deletion, service.last_deletion, service.insert_image,
    service.open_item, service.check_item, service.finish_bulk
TO :"service";

GRANT USAGE ON SCHEMA audit TO :"auditor";
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO :"auditor";
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO :"auditor";

-- The deletion-check counts rows of tables that are added later and may belong to any role. A foreign key is checked with
-- the rights of the table's owner; to count, the owner of the schema, which can't log in, needs to read them. A superuser
-- can allow it; failing that, at least what the migrating role adds can be read.
RESET ROLE;
DO $$
DECLARE
    v_owner regrole := (SELECT nspowner FROM pg_namespace WHERE nspname = 'service');
BEGIN
    IF NOT pg_has_role(v_owner, 'pg_read_all_data', 'USAGE') THEN
        EXECUTE format('GRANT pg_read_all_data TO %s', v_owner);
    END IF;
EXCEPTION WHEN insufficient_privilege THEN
    EXECUTE format('ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO %s', v_owner);
WHEN unique_violation THEN
    NULL;  -- Another database of the cluster allowed it at this moment.
END
$$;
SET LOCAL ROLE :"owner";
