import Administration
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
        let doctor = Doctor(
            connection: connection, roles: roles, contextRetentionDays: 30, deadline: .now + .seconds(60))
        let findings = try await doctor()
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
            "database", "encoding", "schema", "roles", "grants", "privileges", "creators", "trail", "chains",
            "webhooks", "references", "triggers", "settings", "schedule", "bulk", "retention", "durability",
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

    private static let oneEntry = """
        SELECT service.append('aaaaaaaa-0000-4000-8000-000000000001', jsonb_build_array(jsonb_build_object(
            'id', gen_random_uuid(), 'occurred_at', now(), 'action', 'customer.delete', 'outcome', 'NOT_FOUND')));

        """

    private static func inThisDatabase(_ sql: String) -> String {
        "DO $$ BEGIN EXECUTE format('\(sql)', current_database()); END $$"
    }

    static let troubles: [Trouble] = [
        Trouble(
            """
            INSERT INTO service.webhooks (app_id, id, url, secret, after_seq, failures, failing_since)
            VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000001', 'https://x', '', 0,
                    7, now() - interval '1 day')
            """, "webhooks", .warning, "bbbbbbbb-0000-4000-8000-000000000001", "has failed 7 times"),
        Trouble(
            """
            INSERT INTO service.webhooks (app_id, id, url, secret, after_seq, status, failures, failing_since)
            VALUES ('aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002', 'https://x', '', 0,
                    'DISABLED', 1, now())
            """, "webhooks", .warning, "bbbbbbbb-0000-4000-8000-000000000002", "is disabled, and failed 1 times"),
        Trouble("GRANT UPDATE ON audit.entries TO customerd_service", "grants", .failure, "UPDATE", "audit.entries"),
        Trouble("GRANT DELETE, INSERT ON audit.entries TO PUBLIC", "grants", .failure, "DELETE", "customerd_auditor"),
        Trouble("GRANT UPDATE (outcome) ON audit.entries TO customerd_service", "grants", .failure, "UPDATE"),
        Trouble("GRANT TRUNCATE ON audit.heads TO customerd_service", "grants", .failure, "TRUNCATE", "audit.heads"),
        Trouble("GRANT SELECT ON service.api_keys TO customerd_service", "grants", .failure, "service.api_keys"),
        Trouble("REVOKE DELETE ON public.customers FROM customerd_service", "privileges", .failure, "DELETE"),
        Trouble(
            "REVOKE EXECUTE ON FUNCTION service.append FROM customerd_service", "privileges", .failure, "append"),
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
        Trouble("DELETE FROM service.migrations WHERE version = 3", "schema", .failure, "migrate"),
        Trouble("DELETE FROM service.applied_functions", "schema", .failure, "functions/admission", "migrate"),
        // What protects no longer.
        Trouble(
            "ALTER TABLE public.invoices DROP CONSTRAINT invoices_belong_to_a_customer", "references", .failure,
            "invoices has no foreign key", "ADD CONSTRAINT"),
        Trouble("DROP TABLE public.payment_links CASCADE", "references", .failure, "payment_links"),
        Trouble(
            """
            ALTER TABLE public.transactions DROP CONSTRAINT transactions_belong_to_a_customer,
                ADD CONSTRAINT transactions_belong_to_a_customer FOREIGN KEY (app_id, customer_id)
                REFERENCES public.customers (app_id, id) ON DELETE CASCADE
            """, "references", .failure, "transactions", "CASCADE"),
        Trouble(
            """
            ALTER TABLE public.invoices DROP CONSTRAINT invoices_belong_to_a_customer,
                ADD CONSTRAINT invoices_belong_to_a_customer FOREIGN KEY (app_id, customer_id)
                REFERENCES public.customers (app_id, id) NOT VALID
            """, "references", .failure, "invoices", "VALIDATE CONSTRAINT"),
        Trouble("ALTER TABLE public.invoices DISABLE TRIGGER ALL", "references", .failure, "invoices", "disabled"),
        Trouble(
            """
            DO $$
            DECLARE v_trigger name := (
                SELECT t.tgname FROM pg_trigger AS t
                WHERE t.tgrelid = 'public.customers'::regclass AND t.tgisinternal
                  AND t.tgconstrrelid = 'public.invoices'::regclass ORDER BY t.tgtype DESC LIMIT 1);
            BEGIN
                EXECUTE format('ALTER TABLE public.customers ENABLE REPLICA TRIGGER %I', v_trigger);
            END $$
            """, "references", .failure, "invoices", "replica", "ENABLE TRIGGER"),
        Trouble(
            inThisDatabase("ALTER DATABASE %I SET session_replication_role = replica"), "references", .failure,
            "session_replication_role", "RESET"),
        Trouble(
            inThisDatabase("ALTER ROLE customerd_service IN DATABASE %I SET session_replication_role = replica"),
            "references", .failure, "session_replication_role", "customerd_service"),
        Trouble(
            """
            CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER keeper BEFORE DELETE ON public.customers FOR EACH ROW EXECUTE FUNCTION public.keep()
            """, "triggers", .warning, "keeper"),
        Trouble(
            "CREATE RULE keep AS ON DELETE TO public.customers DO INSTEAD NOTHING", "triggers", .failure, "rule keep",
            "drop it"),
        Trouble(
            "CREATE RULE more AS ON DELETE TO public.customers DO ALSO NOTIFY deleted", "triggers", .failure,
            "rule more"),
        Trouble(
            "CREATE RULE other AS ON UPDATE TO public.customers DO ALSO NOTIFY changed", "triggers", .warning,
            "rule other"),
        Trouble(
            """
            CREATE TABLE public.poor (app_id uuid NOT NULL, customer_id uuid NOT NULL,
                FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id));
            ALTER TABLE public.poor OWNER TO customerd_auditor;
            REVOKE ALL ON public.poor FROM customerd_auditor
            """, "references", .failure, "The owner of poor, customerd_auditor, may not read it",
            "grant customerd_auditor USAGE"),
        Trouble(
            inThisDatabase("ALTER ROLE customerd_service IN DATABASE %I SET default_transaction_read_only = on"),
            "settings", .warning, "default_transaction_read_only is on"),
        Trouble(
            "ALTER TABLE public.customers ENABLE ROW LEVEL SECURITY", "triggers", .warning, "Row-level security",
            "DISABLE"),
        Trouble(
            inThisDatabase("ALTER DATABASE %I SET log_min_duration_statement = 1000"), "settings", .warning,
            "log_min_duration_statement", "log_parameter_max_length = 0"),
        Trouble(
            inThisDatabase("ALTER ROLE customerd_service IN DATABASE %I SET log_statement = \"all\""), "settings",
            .warning, "log_statement", "personal data"),
        Trouble(
            "LOAD 'auto_explain';"
                + inThisDatabase("ALTER DATABASE %I SET auto_explain.log_min_duration = 1000"), "settings", .warning,
            "auto_explain.log_min_duration = -1"),
        Trouble(
            inThisDatabase(
                "ALTER ROLE customerd_service IN DATABASE %I SET default_transaction_isolation = \"repeatable read\""),
            "settings", .warning, "repeatable read"),
        // That of the role in this database, which migrate sets, overrides it.
        Trouble(
            inThisDatabase("ALTER DATABASE %I SET default_transaction_isolation = \"serializable\""),
            "settings", .warning, "serializable"),
        Trouble("GRANT CREATE ON SCHEMA public TO PUBLIC", "creators", .warning, "PUBLIC", "REVOKE CREATE"),
        Trouble("GRANT CREATE ON SCHEMA public TO customerd_service", "creators", .warning, "customerd_service"),
        Trouble(
            "GRANT CREATE ON SCHEMA audit TO customerd_auditor", "creators", .failure, "customerd_auditor", "audit"),
        Trouble(
            """
            CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
            ALTER FUNCTION public.spy() OWNER TO customerd_auditor;
            CREATE TRIGGER spying BEFORE INSERT ON public.invoices FOR EACH ROW EXECUTE FUNCTION public.spy()
            """, "creators", .warning, "spying", "public.invoices", "customerd_auditor"),
        Trouble(
            oneEntry + "DELETE FROM audit.heads", "chains", .failure, "has 1 entries but no head", "audit verify"),
        Trouble(
            oneEntry + "UPDATE audit.heads SET seq = 7", "chains", .failure, "at entry 7, but its last entry is 1"),
        Trouble(
            oneEntry + "UPDATE audit.heads SET hash = sha256('')", "chains", .failure, "another hash"),
        Trouble(
            "INSERT INTO audit.heads (app_id, seq, hash) VALUES (gen_random_uuid(), 3, sha256(''))", "chains", .failure,
            "at entry 3, but its last entry is 0"),
        Trouble(
            """
            INSERT INTO service.scheduled_deletions (app_id, customer_id, delete_at, key_id, scheduled_by, try_after)
            SELECT gen_random_uuid(), gen_random_uuid(), t.at, gen_random_uuid(), gen_random_uuid(), t.at
            FROM (SELECT clock_timestamp() - interval '2 minutes' AS at) AS t
            """, "schedule", .warning, "late: 1"),
        Trouble(
            """
            INSERT INTO service.bulk_deletions (app_id, bulk_id, dry_run, key_id, created_at, try_after, total)
            SELECT gen_random_uuid(), gen_random_uuid(), true, gen_random_uuid(), t.at, t.at, 1
            FROM (SELECT clock_timestamp() - interval '11 minutes' AS at) AS t
            """, "bulk", .warning, "stood still for ten minutes: 1"),
        Trouble(
            oneEntry.replacing("now()", with: "now() - interval '31 days'"), "retention", .warning,
            "context of entry 1", "older than 30 days"),
        Trouble(
            oneEntry
                + oneEntry.replacing("customer.delete", with: "trail.retention")
                .replacing("NOT_FOUND", with: "SUCCEEDED").replacing("now()", with: "now() - interval '3 hours'")
                + "INSERT INTO service.retentions (app_id, declared_to) SELECT app_id, 1 FROM audit.heads", "retention",
            .warning, "context of entry 1", "declares"),
        Trouble(
            "ALTER TABLE public.legal_holds DROP CONSTRAINT legal_holds_keep_a_customer", "references", .failure,
            "legal_holds has no foreign key", "ADD CONSTRAINT"),
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
            CREATE TABLE public.split (\(keyed),
                CONSTRAINT split_key FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id))
                PARTITION BY HASH (app_id);
            CREATE TABLE public.part PARTITION OF public.split FOR VALUES WITH (MODULUS 1, REMAINDER 0);
            """,
        ])
    func noTrouble(sql: String) async throws {
        let findings = try await findings(after: sql)

        let references = findings.filter { $0.check == "references" }
        #expect(references.map(\.level) == [.ok], "\(references)")
        #expect(references.first?.message.contains("6 foreign keys") == true)
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
