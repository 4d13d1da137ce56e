import TestSupport
import Testing

/// What the roles of the database can't do, whatever a client of theirs tries.
@Suite("Grants")
struct GrantTests {
    @Test(
        "the service's role can't touch the trail, nor look at secrets",
        arguments: [
            "UPDATE audit.entries SET outcome = 'SUCCEEDED'",
            "DELETE FROM audit.entries",
            "TRUNCATE audit.entries",
            "INSERT INTO audit.entries DEFAULT VALUES",
            "UPDATE audit.heads SET seq = 0",
            "DELETE FROM audit.heads",
            "ALTER TABLE audit.entries DISABLE TRIGGER ALL",
            "ALTER TABLE audit.entries ENABLE TRIGGER entries_are_never_changed",
            "SELECT secret_digest FROM service.api_keys",
            "INSERT INTO service.api_keys DEFAULT VALUES",
            "SELECT body FROM service.attempts",
            "UPDATE service.attempts SET outcome = NULL",
            "SELECT * FROM service.rate_windows",
            "UPDATE service.migrations SET version = 1",
            "SELECT service.lock_head(gen_random_uuid(), true)",
            "TRUNCATE public.customers",
            "UPDATE public.invoices SET amount = 0",
            "SET ROLE customerd_owner",
        ])
    func service(sql: String) async throws {
        let database = try await Shared.database.value

        #expect(try await database.sqlstate(sql, as: "customerd_service") == "42501")
    }

    @Test(
        "the auditor's role reads the trail and nothing else",
        arguments: [
            "SELECT * FROM public.customers", "SELECT * FROM service.api_keys", "SELECT * FROM service.attempts",
            "DELETE FROM audit.entries", "INSERT INTO audit.entries DEFAULT VALUES",
        ])
    func auditor(sql: String) async throws {
        let database = try await Shared.database.value

        #expect(try await database.sqlstate(sql, as: "customerd_auditor") == "42501")
        for view in ["entries", "heads", "deletions", "failures", "by_actor", "blockers"] {
            #expect(try await database.sqlstate("SELECT * FROM audit.\(view)", as: "customerd_auditor") == nil)
        }
    }

    @Test(
        "not even the owner changes the trail while its triggers are there",
        arguments: [
            "UPDATE audit.entries SET outcome = 'SUCCEEDED'", "DELETE FROM audit.entries", "TRUNCATE audit.entries",
        ])
    func owner(sql: String) async throws {
        let database = try await Shared.database.value

        #expect(try await database.sqlstate("SET ROLE customerd_owner; \(sql)", as: "postgres") == "42501")
        let asReplica = "SET session_replication_role = replica; \(sql)"
        #expect(try await database.sqlstate(asReplica, as: "postgres") == "42501", "ALWAYS means in a replica, too")
    }

    @Test("functions that are added later aren't granted to PUBLIC")
    func laterFunctions() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run(
            "SET ROLE customerd_owner; CREATE FUNCTION audit.later() RETURNS int LANGUAGE sql AS 'SELECT 1'")

        #expect(try await database.sqlstate("SELECT audit.later()", as: "customerd_auditor") == "42501")
        try await database.drop()
    }

    /// A database with a trail of three entries.
    private enum Shared {
        static let database = Task {
            let database = try await TestDatabase.migrated()
            try await database.append(3, app: newID())
            return database
        }
    }
}
