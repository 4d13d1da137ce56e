import Customers
import LibPQ
import TestSupport
import Testing

/// `customerd doctor`: what it finds, and that it finds nothing where nothing is.
@Suite("Doctor")
struct DoctorTests {
    private struct Report: Decodable {
        struct Check: Decodable {
            var check: String
            var status: String
            var message: String
        }

        var healthy: Bool
        var checks: [Check]
    }

    /// Runs the checks over a database to which something was done.
    private func findings(after sql: String) async throws -> [Finding] {
        let database = try await TestDatabase.migrated()
        try await database.run(sql)
        let connection = try await database.connect()
        let roles = try #require(DatabaseRoles(prefix: "customerd"))
        let findings = try await Doctor(connection: connection, roles: roles, deadline: .now + .seconds(60))()
        await connection.close()
        try await database.drop()
        return findings
    }

    @Test("a healthy database passes, with every check")
    func healthy() async throws {
        let cluster = try PrivateCluster(settings: ["fsync = on"])
        let database = try await TestDatabase.migrated(in: cluster)

        let ended = try await database.run(
            ["doctor", "--json"],
            ["CUSTOMERD_MIGRATE_DATABASE_URL": database.url(), "DATABASE_URL": database.url(user: "customerd_service")])
        let report = try ended.decoded(Report.self)

        #expect(ended.status == 0)
        #expect(report.healthy)
        #expect(report.checks.filter { $0.status != "ok" }.map(\.message) == [])
        let expected = [
            "database", "encoding", "schema", "roles", "grants", "trail", "references", "triggers", "durability",
            "replication", "clock", "service",
        ]
        #expect(report.checks.map(\.check) == expected)
        try cluster.stop(mode: "immediate")
    }

    struct Trouble: Sendable, CustomTestStringConvertible {
        var sql: String
        var check: String
        var level: Finding.Level
        var names: [String]

        init(_ sql: String, _ check: String, _ level: Finding.Level, _ names: String...) {
            self.sql = sql
            self.check = check
            self.level = level
            self.names = names
        }

        var testDescription: String { sql }
    }

    private static func table(_ name: String, _ columns: String, _ more: String = "") -> String {
        """
        CREATE TABLE public.\(name) (\(columns),
            CONSTRAINT \(name)_key FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id)\(more));
        """
    }

    private static let keyed = "app_id uuid NOT NULL, customer_id uuid NOT NULL, PRIMARY KEY (app_id, customer_id)"

    static let troubles: [Trouble] = [
        Trouble("GRANT UPDATE ON audit.entries TO customerd_service", "grants", .failure, "UPDATE", "audit.entries"),
        Trouble("GRANT DELETE, INSERT ON audit.entries TO PUBLIC", "grants", .failure, "DELETE", "customerd_auditor"),
        Trouble("GRANT UPDATE (outcome) ON audit.entries TO customerd_service", "grants", .failure, "UPDATE"),
        Trouble("GRANT TRUNCATE ON audit.heads TO customerd_service", "grants", .failure, "TRUNCATE", "audit.heads"),
        Trouble("GRANT SELECT ON service.api_keys TO customerd_service", "grants", .failure, "service.api_keys"),
        Trouble("REVOKE DELETE ON public.customers FROM customerd_service", "grants", .failure, "DELETE"),
        Trouble("REVOKE EXECUTE ON FUNCTION service.append FROM customerd_service", "grants", .failure, "append"),
        Trouble(
            "ALTER TABLE audit.entries DISABLE TRIGGER entries_are_never_changed", "trail", .failure,
            "entries_are_never_changed"),
        Trouble(
            "ALTER TABLE audit.entries ENABLE TRIGGER entries_are_never_truncated", "trail", .failure,
            "entries_are_never_truncated"),
        Trouble("DROP TRIGGER entries_are_never_changed ON audit.entries", "trail", .failure, "missing"),
        Trouble(table("gone", keyed, " ON DELETE CASCADE"), "references", .warning, "gone_key", "CASCADE"),
        Trouble(
            table("empty", "app_id uuid, customer_id uuid", " ON DELETE SET NULL")
                + "CREATE INDEX ON public.empty (customer_id, app_id)",
            "references", .warning, "empty_key", "SET NULL"),
        Trouble(
            table("loose", "app_id uuid NOT NULL, customer_id uuid")
                + "CREATE INDEX ON public.loose (customer_id, app_id)",
            "references", .warning, "customer_id of loose", "NULL"),
        Trouble(
            table("slow", "app_id uuid NOT NULL, customer_id uuid NOT NULL"), "references", .warning,
            "slow has no index"),
        Trouble(
            table("partial", "app_id uuid NOT NULL, customer_id uuid NOT NULL")
                + "CREATE INDEX ON public.partial (app_id, customer_id) WHERE app_id IS NOT NULL",
            "references", .warning, "partial has no index"),
        Trouble(
            """
            CREATE TABLE public.late (\(keyed));
            ALTER TABLE public.late ADD CONSTRAINT late_key FOREIGN KEY (app_id, customer_id)
                REFERENCES public.customers (app_id, id) NOT VALID
            """, "references", .warning, "late_key", "validated"),
        Trouble("ALTER TABLE public.customers DISABLE TRIGGER ALL", "references", .failure, "invoices", "disabled"),
        Trouble(
            """
            CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER idle AFTER DELETE ON public.customers FOR EACH ROW EXECUTE FUNCTION public.nothing();
            ALTER TABLE public.customers DISABLE TRIGGER idle
            """, "triggers", .warning, "idle"),
        Trouble("DELETE FROM service.migrations WHERE version = 5", "schema", .failure, "migrate"),
        Trouble(
            """
            DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$
            """, "durability", .warning, "synchronous_commit"),
    ]

    @Test("trouble is found and named", arguments: troubles)
    func trouble(_ trouble: Trouble) async throws {
        let findings = try await findings(after: trouble.sql)

        let fitting = findings.filter { finding in
            finding.check == trouble.check && finding.level == trouble.level
                && trouble.names.allSatisfy { finding.message.contains($0) }
        }
        #expect(!fitting.isEmpty, "\(findings.filter { $0.level != .ok })")
    }

    @Test(
        "a table with a good foreign key is no trouble",
        arguments: [
            table("good", keyed), table("deferred", keyed, " DEFERRABLE INITIALLY DEFERRED"),
            table("reversed", "app_id uuid NOT NULL, customer_id uuid NOT NULL, at timestamptz")
                + "CREATE INDEX ON public.reversed (customer_id, app_id, at)",
            """
            CREATE TABLE public.parted (\(keyed),
                CONSTRAINT parted_key FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id))
                PARTITION BY HASH (app_id);
            CREATE TABLE public.part PARTITION OF public.parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
            """,
        ])
    func noTrouble(sql: String) async throws {
        let findings = try await findings(after: sql)

        let references = findings.filter { $0.check == "references" }
        #expect(references.map(\.level) == [.ok], "\(references)")
        #expect(references.first?.message.contains("5 foreign keys") == true)
    }

    @Test("a failure ends it with 1, a database that isn't there with 3")
    func exitCodes() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("DROP TRIGGER entries_are_never_changed ON audit.entries")

        let failed = try await database.run(["doctor"])
        let unreachable = try await Customerd.run(["doctor", "--json"], ["DATABASE_URL": "host=/nowhere"])

        #expect(failed.status == 1)
        #expect(failed.output.contains("FAILURE  trail"))
        #expect(unreachable.status == 3)
        #expect(try unreachable.decoded(Report.self).healthy == false)
        try await database.drop()
    }

    @Test("missing roles and roles that are too much are found")
    func roles() async throws {
        let prefix = "p\(newID().prefix(8))"
        let database = try await TestDatabase.migrated()
        try await database.run(
            "CREATE ROLE \(prefix)_owner; CREATE ROLE \(prefix)_service LOGIN IN ROLE \(prefix)_owner")

        let ended = try await database.run(["doctor", "--json"], ["CUSTOMERD_ROLE_PREFIX": prefix])

        let roles = try ended.decoded(Report.self).checks.filter { $0.check == "roles" }.map(\.message)
        #expect(roles.contains { $0.contains("\(prefix)_auditor is missing") || $0.contains("\(prefix)_auditor") })
        #expect(roles.contains { $0.contains("\(prefix)_service is a member") })
        try await database.run("DROP ROLE \(prefix)_service; DROP ROLE \(prefix)_owner")
        try await database.drop()
    }
}
