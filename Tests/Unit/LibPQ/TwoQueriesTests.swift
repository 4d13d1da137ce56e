import TestSupport
import Testing

@testable import LibPQ

@Suite("Two queries in one round trip")
struct TwoQueriesTests {
    private func ask(
        _ connection: Connection, _ first: String, _ second: String
    ) async throws(DatabaseError) -> (String?, Result<String?, DatabaseError>) {
        let (one, two) = try await connection.queries(Statement(first), Statement(second), deadline: .soon)
        return (one.rows.first?[0], two.map { $0.rows.first?[0] })
    }

    @Test("each is a transaction of its own", arguments: [true, false])
    func transactions(preparesStatements: Bool) async throws {
        let connection = try await Connection.open(preparesStatements: preparesStatements)

        for _ in 1...2 {
            let (first, second) = try await ask(
                connection, "SELECT pg_current_xact_id()::text", "SELECT pg_current_xact_id()::text, 2")

            #expect(try first != second.get())
        }
        #expect(connection.condition == .clean)
        await connection.close()
    }

    @Test("the second runs whatever became of the first", arguments: [true, false])
    func firstFails(preparesStatements: Bool) async throws {
        let connection = try await Connection.open(preparesStatements: preparesStatements)
        try await connection.run("CREATE TEMP TABLE ran (n int)")

        let error = await #expect(throws: DatabaseError.self) {
            try await ask(connection, "SELECT 1/0", "INSERT INTO ran VALUES (1) RETURNING n")
        }

        #expect(error?.sqlstate == .init("22012"))
        #expect(connection.condition == .clean)
        // By two round trips it isn't even sent.
        #expect(try await connection.value("SELECT count(*) FROM ran") == (preparesStatements ? "1" : "0"))
        await connection.close()
    }

    @Test("what the second fails with leaves the first as it is", arguments: [true, false])
    func secondFails(preparesStatements: Bool) async throws {
        let connection = try await Connection.open(preparesStatements: preparesStatements)
        try await connection.run("CREATE TEMP TABLE ran (n int)")

        let (first, second) = try await ask(connection, "INSERT INTO ran VALUES (7) RETURNING n", "SELECT 1/0")

        #expect(first == "7")
        #expect(second.failure?.sqlstate == .init("22012"))
        #expect(connection.condition == .clean)
        #expect(try await connection.value("SELECT count(*) FROM ran") == "1")
        await connection.close()
    }

    @Test("one whose plan is out of date is prepared again, and the other one runs once", arguments: ["ran", "shape"])
    func stale(table: String) async throws {
        let connection = try await Connection.open()
        try await connection.run(
            "CREATE TEMP TABLE ran (n int); CREATE TEMP TABLE shape (a int); INSERT INTO shape VALUES (1)")
        let (insert, select) = ("INSERT INTO ran VALUES (1) RETURNING *", "SELECT * FROM shape")
        _ = try await ask(connection, insert, select)
        try await connection.run("ALTER TABLE \(table) ADD b text DEFAULT 'new'")

        let (first, second) = try await ask(connection, insert, select)

        #expect(first == "1")
        #expect(try second.get() == "1")
        #expect(try await connection.value("SELECT count(*) FROM ran") == "2")
        await connection.close()
    }

    @Test("canceling the task cancels the second, and the first stands")
    func cancelled() async throws {
        let connection = try await Connection.open()
        let pid = try await connection.pid()
        let barrier = try await Barrier()
        let task = Task { try await ask(connection, "SELECT 'first'", "SELECT FROM \(barrier.sql)") }
        try await barrier.isReached(by: pid)

        task.cancel()

        let (first, second) = try await task.value
        #expect(first == "first")
        #expect(second.failure == .cancelled)
        #expect(connection.condition == .clean)
        await connection.close()
    }

    @Test("a session that ends between them leaves the first as it is")
    func lost() async throws {
        let connection = try await Connection.open()

        let (first, second) = try await ask(
            connection, "SELECT 'first'", "SELECT pg_terminate_backend(pg_backend_pid())")

        #expect(first == "first")
        #expect(second.failure?.isUnavailability == true)
        #expect(!connection.isUsable)
        await connection.close()
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}
