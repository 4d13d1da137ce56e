import TestSupport

/// What a session of the service has to wait for in the middle of a trip, which the service itself can't see into.
enum Obstacle: String, CaseIterable, Sendable {
    case enter = "in enter"
    case read = "in SELECT FOR UPDATE"
    case delete = "in DELETE"
    case receipt = "in finish"
    case commit = "in COMMIT"
    case append = "in append"
    case entryCommit = "in append's COMMIT"

    /// Triggers that wait for a lock that is free unless a test takes it.
    static let triggers = """
        CREATE FUNCTION public.wait_for_test() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- What delays a COMMIT in earnest, such as a standby, is no lock: none of the service's limits of those ends it.
            PERFORM set_config('lock_timeout', '0', true) WHERE TG_ARGV[0] = '3';
            PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::int);
            RETURN NEW;
        END $$;
        CREATE TRIGGER wait_in_delete
            BEFORE DELETE ON public.customers
            FOR EACH STATEMENT EXECUTE FUNCTION public.wait_for_test(1);
        CREATE TRIGGER wait_in_finish
            BEFORE UPDATE ON service.attempts
            FOR EACH ROW
            WHEN (OLD.outcome IS NULL AND NEW.outcome IN ('SUCCEEDED', 'NOT_FOUND') AND NEW.entry_seq IS NULL)
            EXECUTE FUNCTION public.wait_for_test(2);
        CREATE CONSTRAINT TRIGGER wait_in_commit
            AFTER UPDATE ON service.attempts
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW
            WHEN (OLD.outcome IS NULL AND NEW.outcome IN ('SUCCEEDED', 'NOT_FOUND') AND NEW.entry_seq IS NULL)
            EXECUTE FUNCTION public.wait_for_test(3);
        CREATE CONSTRAINT TRIGGER wait_in_append_commit
            AFTER INSERT ON audit.entries
            DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION public.wait_for_test(4);
        """

    /// Puts it in the way of a deletion.
    func raise(before customer: String, of tenant: Tenant) async throws -> OpenTransaction {
        let lock =
            switch self {
            case .enter:
                "SELECT FROM service.attempts WHERE app_id = '\(tenant.app)' AND outcome IS NULL FOR UPDATE"
            case .read: "SELECT FROM public.customers WHERE id = '\(customer)' FOR UPDATE"
            case .delete: "SELECT pg_advisory_xact_lock(1)"
            case .receipt: "SELECT pg_advisory_xact_lock(2)"
            case .commit: "SELECT pg_advisory_xact_lock(3)"
            case .append: "SELECT FROM audit.heads WHERE app_id = '\(tenant.app)' FOR UPDATE"
            case .entryCommit: "SELECT pg_advisory_xact_lock(4)"
            }
        return try await tenant.database.begin(lock)
    }
}
