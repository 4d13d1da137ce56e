import TestSupport
import Testing

@testable import LibPQ

/// Defaults of roles and databases that change how SQL is read or what it returns.
@Suite("Session parameters")
struct SessionParameterTests {
    /// A default that does harm, and an expression whose value it would change.
    struct Hazard: CustomTestStringConvertible, Sendable {
        let name: String
        let value: String
        let expression: String
        let result: String

        var testDescription: String { name }
    }

    static let hazards = [
        Hazard(
            name: "search_path", value: "public, pg_catalog", expression: "length('abc'::varchar)", result: "3"),
        Hazard(
            name: "default_transaction_isolation", value: "'serializable'",
            expression: "current_setting('transaction_isolation')", result: "read committed"),
        Hazard(
            name: "DateStyle", value: "'German'", expression: "('2024-02-01'::date + 1)::text", result: "2024-02-02"),
        Hazard(
            name: "datestyle", value: "'ISO, DMY'", expression: "('03/04/2024'::date)::text", result: "2024-03-04"),
        Hazard(
            name: "IntervalStyle", value: "'sql_standard'", expression: "'1 day 2 hours'::interval::text",
            result: "1 day 02:00:00"),
        Hazard(
            name: "TimeZone", value: "'Asia/Tokyo'", expression: "to_json('2024-01-01T00:00:00Z'::timestamptz)::text",
            result: "\"2024-01-01T00:00:00+00:00\""),
        Hazard(
            name: "bytea_output", value: "'escape'", expression: "'\\xff00'::bytea::text", result: "\\xff00"),
        Hazard(
            name: "extra_float_digits", value: "-15", expression: "(1::float8 / 3)::text", result: "0.3333333333333333"),
        Hazard(name: "quote_all_identifiers", value: "on", expression: "format('%I', 'a')", result: "a"),
        Hazard(
            name: "standard_conforming_strings", value: "off", expression: "length('a\\nb')::text", result: "4"),
        Hazard(name: "array_nulls", value: "off", expression: "('{NULL}'::text[])[1] IS NULL", result: "t"),
        Hazard(name: "transform_null_equals", value: "on", expression: "(1 = NULL) IS NULL", result: "t"),
        Hazard(
            name: "xmloption", value: "document", expression: "current_setting('xmloption')", result: "content"),
        Hazard(
            name: "gin_fuzzy_search_limit", value: "1", expression: "current_setting('gin_fuzzy_search_limit')",
            result: "0"),
        Hazard(name: "client_encoding", value: "'LATIN1'", expression: "chr(228)", result: "ä"),
    ]

    /// A database and a login role of the test's own, whose defaults it sets.
    struct Place {
        let role = uniqueName("hazard")
        let database: String
        private let owner: Connection

        init() async throws {
            database = try await PrivateCluster.shared.createDatabase(encoding: nil)
            owner = try await Connection.connect(
                ConnectionSettings(conninfo: PrivateCluster.shared.url(database: database, user: "postgres")),
                deadline: .soon)
            try await owner.run(
                """
                CREATE ROLE \(role) LOGIN;
                GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC;
                CREATE FUNCTION public.length(varchar) RETURNS int LANGUAGE sql AS 'SELECT -1';
                """)
        }

        func set(_ hazard: Hazard, for target: String) async throws {
            try await owner.run("ALTER \(target) SET \(hazard.name) = \(hazard.value)")
        }

        func connect(preparesStatements: Bool = true) async throws -> Connection {
            let conninfo = PrivateCluster.shared.url(database: database, user: role)
            return try await Connection.connect(
                ConnectionSettings(conninfo: conninfo, preparesStatements: preparesStatements), deadline: .soon)
        }

        func remove() async throws {
            await owner.close()
            try await PrivateCluster.shared.dropDatabase(database)
            let killer = try await Connection.open()
            try await killer.run("DROP ROLE \(role)")
            await killer.close()
        }
    }

    @Test("no default of role or database changes what a statement returns", arguments: SessionParameterTests.hazards)
    func hostileDefaults(hazard: Hazard) async throws {
        let place = try await Place()
        let targets = [
            "DATABASE \(place.database)", "ROLE \(place.role)", "ROLE \(place.role) IN DATABASE \(place.database)",
        ]
        for target in targets {
            try await place.set(hazard, for: target)
            let connection = try await place.connect()

            let alone = try await connection.value("SELECT \(hazard.expression)")
            let outcome = await connection.transaction(
                [Statement("SELECT \(hazard.expression)", prepared: false)], deadline: .soon)

            #expect(alone == hazard.result, "set for \(target)")
            #expect(outcome.committedResults?[0].rows[0][0] == hazard.result, "set for \(target)")
            await connection.close()
        }
        try await place.remove()
    }

    @Test("each of these settings changes a result that isn't pinned", arguments: SessionParameterTests.hazards)
    func hazardsAreReal(hazard: Hazard) async throws {
        let place = try await Place()
        let connection = try await place.connect()

        try await connection.run("SET \(hazard.name) = \(hazard.value)")

        let value = try await connection.value("SELECT \(hazard.expression)")
        #expect(value != hazard.result)
        await connection.close()
        try await place.remove()
    }

    @Test(
        "behind a pooler, which may give a transaction a session without them, each transaction pins them again",
        arguments: SessionParameterTests.hazards)
    func poolerInTransactionMode(hazard: Hazard) async throws {
        // Of a statement alone PostgreSQL fixes the level before the statement; the encoding is the connection's.
        let isPinned = !["default_transaction_isolation", "client_encoding"].contains(hazard.name)
        let place = try await Place()
        let connection = try await place.connect(preparesStatements: false)
        // What the session is like that the pooler gives to the next transaction.
        try await connection.run("SET \(hazard.name) = \(hazard.value)")
        let parameter = "SELECT current_setting('\(hazard.name)')"
        let setting = try await connection.query(Statement(parameter), deadline: .soon).rows[0][0]

        let alone = try await connection.value("SELECT \(hazard.expression)")
        let outcome = await connection.transaction([Statement("SELECT \(hazard.expression)")], deadline: .soon)
        let failure = await #expect(throws: DatabaseError.self) { try await connection.value("SELECT 1/0") }

        if isPinned {
            #expect(alone == hazard.result)
            #expect(outcome.committedResults?.map { $0.rows[0][0] } == [hazard.result])
            #expect(setting == SessionParameter.pinned.first { $0.name == hazard.name }?.value ?? setting)
        }
        #expect(failure?.sqlstate == "22012")
        await connection.close()
        try await place.remove()
    }

    @Test("all that is pinned has a test here")
    func complete() {
        let tested = Set(Self.hazards.map { $0.name.lowercased() })
        #expect(SessionParameter.pinned.allSatisfy { tested.contains($0.name.lowercased()) })
    }

    @Test("an operator's choice to close a database to writes holds")
    func readOnlyDatabase() async throws {
        let place = try await Place()
        let choice = Hazard(name: "default_transaction_read_only", value: "on", expression: "", result: "")
        try await place.set(choice, for: "DATABASE \(place.database)")
        let connection = try await place.connect()

        let outcome = await connection.transaction([Statement("CREATE TABLE public.t (n int)")], deadline: .soon)

        #expect(outcome.rollback?.error.sqlstate == .readOnlyTransaction)
        try await place.remove()
    }

    @Test("a statement alone isn't run at another level than read committed: no 40001")
    func noSerializationFailure() async throws {
        let place = try await Place()
        let hazard = Hazard(
            name: "default_transaction_isolation", value: "'repeatable read'", expression: "", result: "")
        try await place.set(hazard, for: "ROLE \(place.role)")
        let connection = try await place.connect()
        let other = try await place.connect()
        try await connection.run("CREATE TABLE public.numbers (n int); INSERT INTO public.numbers VALUES (1)")
        let pid = try await connection.pid()
        try await other.run("BEGIN; UPDATE public.numbers SET n = n + 1")

        async let updated = connection.query(Statement("UPDATE public.numbers SET n = n + 1"), deadline: .soon)
        try await eventually("the update waits for the other one's lock") {
            let sql = "SELECT 1 FROM pg_locks WHERE NOT granted AND pid = $1::int"
            return try await other.value(sql, [.int(pid)]) != nil
        }
        try await other.run("COMMIT")

        #expect(try await updated.commandTag == "UPDATE 1")
        #expect(try await other.value("SELECT n FROM public.numbers") == "3")
        for session in [connection, other] { await session.close() }
        try await place.remove()
    }
}
