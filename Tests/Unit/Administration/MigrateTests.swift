import Administration
import Crypto
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

    private static let sources = URL(fileURLWithPath: projectFile("sql"))
    /// What is applied to an empty database, apart from the grants.
    private static let all = Schema.current.files.filter { $0.kind != .grants }.map(\.name)

    @Test("the binary carries the files of sql/tables and sql/functions, in the order of sql/schema.sql")
    func embedded() throws {
        let index = try String(contentsOf: Self.sources.appendingPathComponent("schema.sql"), encoding: .utf8)
            .split(separator: "\n").compactMap { $0.wholeMatch(of: /\\ir (.*)\.sql/) }.map { String($0.1) }
        var files: Set<String> = ["grants"]
        for folder in ["tables", "functions"] {
            files.formUnion(
                try FileManager.default.contentsOfDirectory(atPath: Self.sources.appendingPathComponent(folder).path)
                    .filter { $0.hasSuffix(".sql") }.map { "\(folder)/\($0.dropLast(4))" })
        }

        #expect(Schema.current.files.map(\.name) == index)
        #expect(Set(index) == files && index.count == files.count, "every file once")
        let tables = index.filter { $0.hasPrefix("tables/") }
        #expect(tables.enumerated().allSatisfy { $1.hasPrefix("tables/000\($0 + 1)_") }, "numbered from 1 without gaps")
        #expect(Schema.current.version == tables.count)
        for file in Schema.current.files {
            let source = try Data(contentsOf: Self.sources.appendingPathComponent("\(file.name).sql"))
            #expect(Data(file.sql.utf8) == source, "\(file.name) is the file, byte for byte")
            #expect(file.checksum == Array(SHA256.hash(data: source)))
        }
    }

    /// The versions that a list like `sql/releases` says were released with another text, or that aren't of this schema.
    private func violations(_ list: String) -> [Int] {
        let digest = SHA256.hash(data: Data(Schema.current.files.map(\.sql).joined().utf8))
        let text = digest.map { String(format: "%02x", $0) }.joined()
        let lines = list.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { $0.split(separator: " ") }
        return lines.compactMap { line in
            guard let version = Int(line[0]), version <= Schema.current.version else { return .max }
            return version == Schema.current.version && line.last ?? "" != text ? version : nil
        }
    }

    @Test("what was released is never edited: a change has another tables file, so that the version tells old from new")
    func released() throws {
        let list = try String(contentsOf: Self.sources.appendingPathComponent("releases"), encoding: .utf8)
        let version = Schema.current.version

        #expect(violations(list).isEmpty, "add a file to sql/tables, even if only functions have changed")
        #expect(violations("\(version - 1) 0123") == [], "an older release had another text")
        #expect(violations("\(version) 0123") == [version] && violations("\(version + 1) 0123") == [.max])
    }

    @Test("an empty database gets every file, and a second run changes nothing")
    func twice() async throws {
        let database = try await TestDatabase.empty()

        let first = try await database.json(["migrate"], as: Report.self)
        let before = try await database.dump()
        let second = try await database.json(["migrate"], as: Report.self)

        #expect(first.applied == Self.all)
        #expect(first.version == Schema.current.version)
        #expect(second.applied.isEmpty && second.version == first.version)
        let after = try await database.dump()
        #expect(withoutNonce(after) == withoutNonce(before))
        try await database.drop()
    }

    /// Newer versions of `pg_dump` put a random word into their output.
    private func withoutNonce(_ dump: String) -> [Substring] {
        dump.split(separator: "\n").filter { !$0.contains("restrict") }
    }

    @Test("a tables file that was edited after it had been applied is refused by name")
    func edited() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("UPDATE service.migrations SET checksum = sha256('') WHERE version = 3")

        let ended = try await database.run(["migrate"])

        #expect(ended.status == 1)
        #expect(ended.errors.contains("0003_service"))
        try await database.drop()
    }

    @Test("a functions file is applied again when its text has changed, and that one alone")
    func changedFunctions() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run(
            """
            CREATE OR REPLACE FUNCTION service.etag(p_record text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT NULL::text';
            UPDATE service.applied_functions SET checksum = sha256('') WHERE name = 'functions/rendering'
            """)

        let serving = try await database.run(["serve"], as: "customerd_service")
        let report = try await database.json(["migrate"], as: Report.self)

        #expect(serving.status == 2 && serving.errors.contains("functions/rendering"))
        #expect(report.applied == ["functions/rendering"])
        #expect(try await database.value("SELECT service.etag('x') IS NOT NULL") == "t")
        try await database.drop()
    }

    @Test("a database of another major line is refused")
    func otherLine() async throws {
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

    @Test("a newer schema of the same line is served, and left as it is by migrate")
    func newer() async throws {
        let database = try await TestDatabase.migrated()
        // What a newer customerd would have done: another table, another function, another privilege.
        try await database.run(
            """
            INSERT INTO service.migrations VALUES (999, 'tables/0999_future', sha256(''));
            UPDATE service.applied_functions SET checksum = sha256('new');
            GRANT SELECT ON service.floods TO customerd_service
            """)
        let before = try await database.dump()

        let migrating = try await database.run(["migrate"])
        let doctor = try await database.run(
            ["doctor"],
            ["CUSTOMERD_MIGRATE_DATABASE_URL": database.url(), "DATABASE_URL": database.url(user: "customerd_service")])

        #expect(migrating.status == 0, "\(migrating.errors)")
        #expect(migrating.output.contains("999") && migrating.output.contains("nothing was changed"))
        #expect(withoutNonce(try await database.dump()) == withoutNonce(before))
        #expect(doctor.output.contains("ok       service: serve can start"), "\(doctor.output)")
        #expect(doctor.output.contains("newer than this customerd"))
        try await database.drop()
    }

    @Test("an older schema isn't served")
    func older() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("DELETE FROM service.migrations WHERE version = \(Schema.current.version)")

        let serving = try await database.run(["serve"], as: "customerd_service")

        #expect(serving.status == 2)
        #expect(serving.errors.contains("customerd migrate"))
        try await database.drop()
    }

    /// Every command that needs the schema; `doctor` says what it finds instead.
    static let needing: [[String]] = [
        ["keys", "create", "--app", "de300000-0000-4000-8000-000000000001", "--role", "admin", "--name", "n"],
        ["keys", "list"], ["keys", "rotate", "ck_x", "--overlap", "0"], ["keys", "revoke", "ck_x"],
        ["seed", "--customers", "1"], ["audit", "verify"], ["audit", "export"],
        ["audit", "checkpoint", "--key", "KEY"],
    ]

    /// What makes it, out of the current one.
    static let older = """
        ALTER TABLE service.api_keys DROP COLUMN previous_secret_digest CASCADE, DROP COLUMN name CASCADE,
            DROP COLUMN revoked_at CASCADE, DROP COLUMN created_at CASCADE;
        ALTER TABLE audit.entries DROP COLUMN seq CASCADE;
        DROP FUNCTION service.append CASCADE;
        ALTER TABLE public.customers DROP COLUMN customer_type CASCADE
        """

    @Test("a command that finds no schema, or an older one than it needs, ends with 2 and says so", arguments: needing)
    func missingSchema(arguments: [String]) async throws {
        struct Failure: Decodable {
            var error: String
            var exit_code: Int
        }
        let key = FileManager.default.temporaryDirectory.appending(path: "key-\(newID())").path
        defer { try? FileManager.default.removeItem(atPath: key) }
        _ = try await Customerd.succeed(["audit", "keygen", "--name", "example.com/trail", "--key", key])
        let arguments = arguments.map { $0 == "KEY" ? key : $0 }
        let (empty, old) = (try await TestDatabase.empty(), try await TestDatabase.migrated())
        // Its trail has an entry to be read.
        _ = try await old.customerd(Self.needing[0])
        try await old.run(Self.older)

        for database in [empty, old] {
            // It has no --json: its output is one JSON object a line.
            let isExport = arguments.contains("export")
            let ended = try await database.run(arguments + (isExport ? [] : ["--json"]))

            #expect(ended.status == 2, "\(ended)")
            #expect(ended.errors.contains("run `customerd migrate` first"), "\(ended)")
            if !isExport {
                let failure = try ended.decoded(Failure.self)
                #expect(failure.exit_code == 2 && failure.error.contains("customerd migrate"))
            }
            try await database.drop()
        }
    }

    @Test("a database of a development version is refused with a sentence of its own, and left as it is")
    func developmentVersion() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("DROP TABLE service.applied_functions")
        let before = try await database.dump()

        let migrating = try await database.run(["migrate"])
        let serving = try await database.run(["serve"], as: "customerd_service")

        #expect(migrating.status == 1 && serving.status == 2)
        for ended in [migrating, serving] { #expect(ended.errors.contains("development version"), "\(ended.errors)") }
        #expect(withoutNonce(try await database.dump()) == withoutNonce(before))
        try await database.drop()
    }

    @Test("migrate grants what is missing and revokes what isn't listed")
    func repairedGrants() async throws {
        let database = try await TestDatabase.migrated()
        let before = try await privileges(in: database)
        try await database.run(
            """
            REVOKE ALL ON ALL TABLES IN SCHEMA public, audit, service FROM customerd_service, customerd_auditor;
            REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit, service FROM customerd_service, customerd_auditor;
            REVOKE ALL ON SCHEMA audit, service FROM customerd_service, customerd_auditor;
            GRANT ALL ON ALL TABLES IN SCHEMA audit, service TO customerd_service, PUBLIC;
            GRANT UPDATE (outcome) ON audit.entries TO customerd_auditor;
            GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA service TO PUBLIC;
            GRANT ALL ON SCHEMA audit, service TO PUBLIC
            """)

        try await database.customerd(["migrate"])

        #expect(try await privileges(in: database) == before)
        try await database.drop()
    }

    /// Every privilege in customerd's schemas, sorted.
    private func privileges(in database: TestDatabase) async throws -> [String] {
        try await database.rows(
            """
            SELECT o.name || ': ' || string_agg(DISTINCT a.grantee::regrole || '=' || a.privilege_type, ' '
                ORDER BY a.grantee::regrole || '=' || a.privilege_type) AS line
            FROM (SELECT oid::regclass::text, coalesce(relacl, acldefault('r', relowner)) FROM pg_class
                  WHERE relnamespace::regnamespace::text IN ('public', 'audit', 'service') AND relkind IN ('r', 'v')
                  UNION ALL
                  SELECT a.attrelid::regclass || '.' || a.attname, a.attacl FROM pg_attribute AS a
                  JOIN pg_class AS c ON c.oid = a.attrelid
                  WHERE c.relnamespace::regnamespace::text IN ('public', 'audit', 'service') AND a.attacl <> '{}'
                  UNION ALL
                  SELECT oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
                  WHERE pronamespace::regnamespace::text IN ('audit', 'service')
                  UNION ALL
                  SELECT nspname, nspacl FROM pg_namespace WHERE nspname IN ('audit', 'service')) AS o (name, acl)
            CROSS JOIN LATERAL aclexplode(o.acl) AS a
            GROUP BY o.name
            ORDER BY 1
            """
        ).compactMap { $0["line"] }
    }

    /// What a login role has put where customerd's objects belong, and what a migrator that runs it would become.
    static let planted: [(sql: String, named: String)] = [
        (
            """
            CREATE SCHEMA service;
            CREATE FUNCTION service.steal() RETURNS int LANGUAGE plpgsql AS
                'BEGIN EXECUTE format(''ALTER ROLE %I SUPERUSER'', (SELECT nspowner::regrole FROM pg_namespace WHERE nspname = ''service'')); RETURN 1; END';
            CREATE VIEW service.migrations AS
                SELECT service.steal() AS version, 'x' AS name, sha256('') AS checksum, now() AS applied_at
            """, "service.migrations"
        ),
        ("CREATE SCHEMA audit", "schema audit"),
        ("CREATE TABLE public.customers (id int)", "public.customers"),
    ]

    @Test("foreign objects in its schemas are refused by name, before anything of them runs", arguments: planted)
    func foreign(sql: String, named: String) async throws {
        let database = try await TestDatabase.empty()
        let mallory = "m\(newID().prefix(8))"
        try await database.run(
            """
            CREATE ROLE \(mallory) LOGIN;
            GRANT CREATE ON DATABASE \(database.name) TO \(mallory);
            GRANT CREATE ON SCHEMA public TO \(mallory)
            """)
        try await database.run(sql, as: mallory)

        let ended = try await database.run(["migrate"])

        #expect(ended.status == 1)
        #expect(ended.errors.contains(named) && ended.errors.contains(mallory), "\(ended.errors)")
        #expect(try await database.value("SELECT rolsuper FROM pg_roles WHERE rolname = '\(mallory)'") == "f")
        try await database.drop()
        try await PrivateCluster.shared.psql("DROP ROLE \(mallory)")
    }

    @Test("a function or trigger of another role in a migrated database is refused as well")
    func foreignLater() async throws {
        let database = try await TestDatabase.migrated()
        let mallory = "m\(newID().prefix(8))"
        try await database.run(
            """
            CREATE ROLE \(mallory) LOGIN;
            CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
            ALTER FUNCTION public.spy() OWNER TO \(mallory);
            CREATE TRIGGER spying BEFORE INSERT ON service.api_keys FOR EACH ROW EXECUTE FUNCTION public.spy();
            CREATE FUNCTION audit.spy() RETURNS int LANGUAGE sql AS 'SELECT 1';
            ALTER FUNCTION audit.spy() OWNER TO \(mallory)
            """)

        let ended = try await database.run(["migrate"])

        #expect(ended.status == 1)
        for name in ["spying", "audit.spy"] { #expect(ended.errors.contains(name), "\(ended.errors)") }
        try await database.drop()
        try await PrivateCluster.shared.psql("DROP ROLE \(mallory)")
    }

    @Test("a hardened database works: PUBLIC may do nothing in schema public")
    func hardened() async throws {
        let database = try await TestDatabase.empty()
        try await database.run(
            """
            REVOKE ALL ON SCHEMA public FROM PUBLIC;
            REVOKE ALL ON DATABASE \(database.name) FROM PUBLIC;
            REVOKE ALL ON LANGUAGE sql, plpgsql FROM PUBLIC
            """)

        try await database.customerd(["migrate"])
        let doctor = try await database.run(
            ["doctor"],
            ["CUSTOMERD_MIGRATE_DATABASE_URL": database.url(), "DATABASE_URL": database.url(user: "customerd_service")])

        #expect(doctor.output.contains("ok       privileges:"), "\(doctor.output)")
        #expect(doctor.output.contains("ok       service: serve can start"), "\(doctor.output)")
        let counted = try await database.sqlstate("SELECT count(*) FROM public.customers", as: "customerd_service")
        #expect(counted == nil)
        try await database.drop()
    }

    @Test("where the migrating role can't grant on schema public, it says what a superuser has to run")
    func hardenedForeignPublic() async throws {
        let prefix = "p\(newID().prefix(8))"
        let database = try await TestDatabase.empty()
        try await database.run(
            """
            CREATE ROLE \(prefix)_admin LOGIN CREATEROLE;
            ALTER DATABASE \(database.name) OWNER TO \(prefix)_admin;
            ALTER SCHEMA public OWNER TO postgres;
            REVOKE ALL ON SCHEMA public FROM PUBLIC
            """)

        let ended = try await database.run(["migrate"], as: "\(prefix)_admin", ["CUSTOMERD_ROLE_PREFIX": prefix])

        #expect(ended.status == 2)
        #expect(ended.errors.contains("GRANT USAGE ON SCHEMA public TO \(prefix)_service"), "\(ended.errors)")
        #expect(try await database.value("SELECT to_regnamespace('service')") == nil)
        try await database.drop()
        try await dropRoles(prefix)
    }

    @Test(
        "serve refuses to start without a privilege that it needs, and names it; doctor ends with 2",
        arguments: [
            ("DELETE ON public.customers", "DELETE on public.customers"),
            ("SELECT ON audit.entries", "SELECT on audit.entries"),
            ("EXECUTE ON FUNCTION service.admit", "EXECUTE on service.admit"),
            ("USAGE ON SCHEMA public", "USAGE on schema public"),
            ("USAGE ON SCHEMA service", "schema service"),
            ("SELECT ON service.privileges", "privileges"),
        ])
    func missingPrivilege(revoked: String, named: String) async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE \(revoked) FROM customerd_service")

        let serving = try await database.run(["serve"], as: "customerd_service")
        let doctor = try await database.run(["doctor"])

        #expect(serving.status == 2)
        #expect(serving.errors.contains(named), "\(serving.errors)")
        #expect(doctor.output.contains("FAILURE  privileges: customerd_service lacks"), "\(doctor.output)")
        #expect(doctor.output.contains("durability") && [1, 2].contains(doctor.status))
        try await database.drop()
    }

    @Test("many at once, in two databases and with roles that do not exist yet, apply everything once")
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
            #expect(applied == Self.all, "each was applied once")
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

        #expect(ended.status == 2)
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

    @Test("a file that fails is named, and undoes those before it")
    func failing() async throws {
        let database = try await TestDatabase.empty()
        let roles = try #require(DatabaseRoles(prefix: "customerd"))
        let connection = try await database.connect()
        let migrate = Migrator(
            connection: connection, roles: roles,
            schema: Schema(files: [
                SchemaFile(.tables(version: 1), name: "tables/0001_good", sql: "CREATE TABLE public.good (id int)"),
                SchemaFile(
                    .functions, name: "functions/bad", sql: "CREATE TABLE public.bad (id int); SELECT 1 / 0"),
            ]))

        let error = await #expect(throws: MigrationError.self) { try await migrate(deadline: .now + .seconds(60)) }
        await connection.close()

        guard case .failed(let name, let cause) = error else { Issue.record("\(String(describing: error))"); return }
        #expect(name == "functions/bad")
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
        #expect(try await setting("search_path", in: database) == "pg_catalog, pg_temp")
        #expect(try await setting("default_transaction_isolation", in: database) == "read committed")
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

    /// A setting as a session of the service's role finds it that brings none of its own.
    private func setting(_ name: String, in database: TestDatabase) async throws -> String {
        try await database.cluster.psql("SHOW \(name)", database: database.name, user: "customerd_service")
            .trimmingCharacters(in: .newlines)
    }

    private func dropRoles(_ prefix: String) async throws {
        for role in ["admin", "owner", "service", "auditor"] {
            try await PrivateCluster.shared.psql("DROP ROLE IF EXISTS \(prefix)_\(role)")
        }
    }
}
