import Crypto
import Customers
import Foundation
import LibPQ
import TestSupport
import Testing

/// `customerd migrate`: complete, repeatable, safe in company.
@Suite("Migrate")
struct MigrateTests {
    private struct Report: Decodable {
        var applied: [String]
        var version: Int
    }

    private static let sources = URL(fileURLWithPath: projectFile("sql/migrations"))

    @Test("the binary carries the files of sql/migrations, numbered from 1 without gaps")
    func embedded() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.sources.path)
            .filter { $0.hasSuffix(".sql") }
            .sorted()

        #expect(Migration.all.map { "\($0.name).sql" } == files)
        #expect(Migration.all.map(\.version) == Array(1...files.count))
        for migration in Migration.all {
            let file = try Data(contentsOf: Self.sources.appendingPathComponent("\(migration.name).sql"))
            #expect(Data(migration.sql.utf8) == file, "\(migration.name) is the file, byte for byte")
            #expect(migration.checksum == Array(SHA256.hash(data: file)))
        }
    }

    @Test("an empty database gets every migration, and a second run changes nothing")
    func twice() async throws {
        let database = try await TestDatabase.empty()

        let first = try await database.json(["migrate"], as: Report.self)
        let before = try await database.dump()
        let second = try await database.json(["migrate"], as: Report.self)

        #expect(first.applied == Migration.all.map(\.name))
        #expect(first.version == Migration.all.count)
        #expect(second.applied.isEmpty && second.version == first.version)
        let after = try await database.dump()
        #expect(withoutNonce(after) == withoutNonce(before))
        try await database.drop()
    }

    /// Newer versions of `pg_dump` put a random word into their output.
    private func withoutNonce(_ dump: String) -> [Substring] {
        dump.split(separator: "\n").filter { !$0.contains("restrict") }
    }

    @Test("a migration that was edited after it had been applied is refused by name")
    func edited() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("UPDATE service.migrations SET checksum = sha256('') WHERE version = 3")

        let ended = try await database.run(["migrate"])

        #expect(ended.status == 1)
        #expect(ended.errors.contains("0003_service"))
        try await database.drop()
    }

    @Test("a database that a newer binary has migrated is refused")
    func newer() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("INSERT INTO service.migrations VALUES (9999, '9999_future', sha256(''))")

        let migrating = try await database.run(["migrate"])
        let serving = try await database.run(["serve"], as: "customerd_service")

        #expect(migrating.status == 1)
        #expect(migrating.errors.contains("9999"))
        #expect(serving.status == 2)
        #expect(serving.errors.contains("9999"))
        try await database.drop()
    }

    @Test("many at once, in two databases and with roles that nobody has made yet, apply everything once")
    func atOnce() async throws {
        let prefix = "p\(newID().prefix(8))"
        let databases = [try await TestDatabase.empty(), try await TestDatabase.empty()]

        let runs = try await withThrowingTaskGroup(of: (Int, Customerd.Ended).self) { group in
            for run in 0..<6 {
                group.addTask {
                    let ended = try await databases[run % 2]
                        .run(["migrate", "--json"], ["CUSTOMERD_ROLE_PREFIX": prefix])
                    return (run % 2, ended)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        for (_, ended) in runs { #expect(ended.status == 0, "\(ended.errors)") }
        for index in databases.indices {
            let applied = try runs.filter { $0.0 == index }.flatMap { try $0.1.decoded(Report.self).applied }
            #expect(applied == Migration.all.map(\.name), "each was applied once")
            try await databases[index].drop()
        }
        try await dropRoles(prefix)
    }

    @Test("the owner of a database with CREATEROLE can do it all, superuser or not")
    func plainOwner() async throws {
        let prefix = "p\(newID().prefix(8))"
        let database = try await TestDatabase.empty()
        try await database.run(
            """
            CREATE ROLE \(prefix)_admin LOGIN CREATEROLE;
            ALTER DATABASE \(database.name) OWNER TO \(prefix)_admin
            """)
        let settings = ["CUSTOMERD_ROLE_PREFIX": prefix]
        let user = "\(prefix)_admin"

        let migrated = try await database.run(["migrate"], as: user, settings)
        let again = try await database.run(["migrate"], as: user, settings)
        let key = try await database.run(
            ["keys", "create", "--app", newID(), "--role", "admin", "--name", "x"], as: user, settings)
        let seeded = try await database.run(["seed", "--customers", "10"], as: user, settings)
        let verified = try await database.run(["audit", "verify"], as: user, settings)

        for ended in [migrated, again, key, seeded, verified] { #expect(ended.status == 0, "\(ended.errors)") }
        #expect(again.output.contains("Nothing to do"))
        try await database.drop()
        try await dropRoles(prefix)
    }

    @Test("a role that may not is told what it lacks, and leaves nothing behind")
    func insufficient() async throws {
        let prefix = "p\(newID().prefix(8))"
        let database = try await TestDatabase.empty()
        try await database.run("CREATE ROLE \(prefix)_admin LOGIN")

        let ended = try await database.run(["migrate"], as: "\(prefix)_admin", ["CUSTOMERD_ROLE_PREFIX": prefix])

        #expect(ended.status == 1)
        #expect(ended.errors.contains("CREATEROLE"))
        #expect(try await database.value("SELECT to_regnamespace('service')") == nil)
        try await database.drop()
        try await dropRoles(prefix)
    }

    @Test("a database that couldn't hold every name is refused with a word on how to make another")
    func encoding() async throws {
        let database = try await TestDatabase.empty(encoding: "SQL_ASCII")

        let ended = try await database.run(["migrate"])

        #expect(ended.status == 1)
        #expect(ended.errors.contains("is encoded in SQL_ASCII"))
        #expect(ended.errors.contains("ENCODING 'UTF8'"))
        #expect(try await database.value("SELECT to_regnamespace('service')") == nil)
        try await database.drop()
    }

    @Test("a migration that fails is named, and undoes those before it")
    func failing() async throws {
        let database = try await TestDatabase.empty()
        let roles = try #require(DatabaseRoles(prefix: "customerd"))
        let connection = try await database.connect()
        let migrate = Migrator(
            connection: connection, roles: roles,
            migrations: [
                Migration(version: 1, name: "0001_good", sql: "CREATE TABLE public.good (id int)"),
                Migration(version: 2, name: "0002_bad", sql: "CREATE TABLE public.bad (id int); SELECT 1 / 0"),
            ])

        let error = await #expect(throws: MigrationError.self) { try await migrate(deadline: .now + .seconds(60)) }
        await connection.close()

        guard case .failed(let name, let cause) = error else { Issue.record("\(String(describing: error))"); return }
        #expect(name == "0002_bad")
        #expect(cause.sqlstate == "22012")
        #expect(try await database.value("SELECT to_regclass('public.good')") == nil)
        #expect(try await database.value("SELECT to_regnamespace('service')") == nil)
        try await database.drop()
    }

    @Test("every object belongs to the owner, and everything has a comment")
    func ownership() async throws {
        let database = try await TestDatabase.migrated()

        let others = try await database.rows(
            """
            SELECT c.oid::regclass::text AS name
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname IN ('public', 'audit', 'service') AND c.relowner <> 'customerd_owner'::regrole
            UNION ALL
            SELECT oid::regprocedure::text
            FROM pg_proc
            WHERE pronamespace IN ('audit'::regnamespace, 'service'::regnamespace)
              AND proowner <> 'customerd_owner'::regrole
            """
        )
        let silent = try await database.rows(
            """
            SELECT c.oid::regclass || coalesce('.' || a.attname, '') AS name
            FROM pg_class AS c
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            LEFT JOIN LATERAL (
                SELECT attname, attnum
                FROM pg_attribute
                WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND c.relkind = 'r'
                UNION ALL
                SELECT NULL, 0) AS a ON true
            WHERE n.nspname IN ('public', 'audit', 'service')
              AND c.relkind IN ('r', 'v')
              AND CASE a.attnum WHEN 0 THEN obj_description(c.oid, 'pg_class')
                                ELSE col_description(c.oid, a.attnum) END IS NULL
            UNION ALL
            SELECT oid::regprocedure::text
            FROM pg_proc
            WHERE pronamespace IN ('audit'::regnamespace, 'service'::regnamespace)
              AND obj_description(oid, 'pg_proc') IS NULL
            """
        )

        #expect(others.isEmpty, "\(others)")
        #expect(silent.isEmpty, "\(silent)")
        try await database.drop()
    }

    @Test("the service's role gets its timeouts, unless an operator has chosen others")
    func timeouts() async throws {
        let database = try await TestDatabase.empty()
        try await database.customerd(["migrate"])
        let chosen = try await setting("statement_timeout", in: database)
        try await database.run(
            "ALTER ROLE customerd_service IN DATABASE \(database.name) SET statement_timeout = '20s'")

        try await database.customerd(["migrate"])

        #expect(chosen == "15s")
        #expect(try await setting("lock_timeout", in: database) == "5s")
        #expect(try await setting("statement_timeout", in: database) == "20s")
        try await database.drop()
    }

    @Test("a session whose client's machine is dead ends within the time that a retry may have to wait")
    func keepalives() async throws {
        let database = try await TestDatabase.migrated()

        let seconds = try await database.value(
            """
            SELECT sum(value) FILTER (WHERE name = 'tcp_keepalives_idle')
                 + sum(value) FILTER (WHERE name = 'tcp_keepalives_interval')
                 * sum(value) FILTER (WHERE name = 'tcp_keepalives_count')
            FROM pg_db_role_setting AS s
            CROSS JOIN unnest(s.setconfig) AS setting
            CROSS JOIN LATERAL (
                SELECT split_part(setting, '=', 1) AS name, split_part(setting, '=', 2)::int AS value
                WHERE setting LIKE 'tcp_keepalives%') AS keepalives
            WHERE s.setrole = 'customerd_service'::regrole
              AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
            """)

        #expect(seconds.flatMap { Int($0) }.map { $0 <= 25 } == true)
        try await database.drop()
    }

    /// A setting as the service's role finds it.
    private func setting(_ name: String, in database: TestDatabase) async throws -> String? {
        let connection = try await database.connect(as: "customerd_service")
        let result = try await connection.query(Statement("SHOW \(name)"), deadline: .now + .seconds(60))
        await connection.close()
        return result.rows.first?[0]
    }

    private func dropRoles(_ prefix: String) async throws {
        for role in ["admin", "owner", "service", "auditor"] {
            try await PrivateCluster.shared.psql("DROP ROLE IF EXISTS \(prefix)_\(role)")
        }
    }
}
