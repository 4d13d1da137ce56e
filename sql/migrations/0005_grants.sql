-- Who may do what. The service's role reads and changes customers; the protocol's tables it reaches through the
-- protocol's functions alone; the trail it may read. The auditor reads the trail and nothing else.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit, service FROM PUBLIC;
-- For all schemas: a default of one schema can only add to what PUBLIC has by itself, never take from it.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA public, audit, service TO :"service";
GRANT SELECT ON service.migrations TO :"service";
GRANT SELECT, INSERT, UPDATE, DELETE ON public.customers TO :"service";
GRANT SELECT ON public.invoices, public.payment_links, public.transactions, public.liquidation_addresses TO :"service";
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO :"service";
GRANT SELECT ON service.migrations TO :"service";
GRANT EXECUTE ON FUNCTION
    service.rfc3339, service.record, service.is_reference_to_customers,
    service.admit, service.open_attempt, service.hold, service.finish, service.settle, service.append, service.release,
    service.recover, service.purge, service.audit_lag
TO :"service";

GRANT USAGE ON SCHEMA audit TO :"auditor";
GRANT SELECT ON ALL TABLES IN SCHEMA audit TO :"auditor";
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA audit TO :"auditor";
