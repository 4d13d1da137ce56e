import LibPQ
import TestSupport
import Testing

@Suite("Errors")
struct ErrorTests {
    @Test("a foreign key violation names constraint, table and detail")
    func foreignKeyViolation() async throws {
        let connection = try await Connection.open()
        try await connection.run(
            """
            CREATE TEMP TABLE customer (id int PRIMARY KEY);
            CREATE TEMP TABLE invoice (customer_id int CONSTRAINT invoice_customer REFERENCES customer);
            INSERT INTO customer VALUES (1);
            INSERT INTO invoice VALUES (1);
            """
        )

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.value("DELETE FROM customer WHERE id = $1", [.int(1)])
        }

        let server = try #require(error?.serverError)
        #expect([.foreignKeyViolation, .restrictViolation].contains(server.sqlstate))
        #expect(server.severity == "ERROR")
        #expect(server.constraint == "invoice_customer")
        #expect(server.table == "invoice")
        #expect(server.schema?.hasPrefix("pg_temp") == true)
        #expect(server.detail?.contains("(id)=(1)") == true)
        #expect(error?.isRetryable == false)
        #expect(error?.isUnavailability == false)
        #expect(connection.isUsable)
        await connection.close()
    }

    @Test(
        "the connection lives on after an error",
        arguments: [
            ("SELECT 1/0", "22012"), ("SELEC", "42601"), ("SELECT * FROM nowhere", "42P01"),
            ("SELECT 'x'::uuid", "22P02"),
        ]
    )
    func livesOn(sql: String, sqlstate: SQLState) async throws {
        let connection = try await Connection.open()

        let error = await #expect(throws: DatabaseError.self) { try await connection.value(sql) }

        #expect(error?.sqlstate == sqlstate)
        #expect(try await connection.value("SELECT 1") == "1")
        await connection.close()
    }

    @Test("a deferred constraint that fails at a statement's own commit is an error of the statement", arguments: 1...3)
    func deferredAtImplicitCommit(statements: Int) async throws {
        let connection = try await Connection.open()
        try await connection.run(
            "CREATE TEMP TABLE single (n int CONSTRAINT single_n UNIQUE DEFERRABLE INITIALLY DEFERRED)"
        )
        let insert = Statement("INSERT INTO single VALUES (1), (1)")

        // Once the statement is new to the session, once it is prepared.
        for _ in 1...2 {
            let error = await #expect(throws: DatabaseError.self) {
                try await connection.pipelined(Array(repeating: insert, count: statements), deadline: .soon)
            }
            #expect(error?.sqlstate == .uniqueViolation)
            #expect(error?.serverError?.constraint == "single_n")
        }

        #expect(try await connection.value("SELECT count(*) FROM single") == "0")
        await connection.close()
    }

    @Test("a pipeline is one transaction: if one statement fails, none has happened")
    func pipelineIsAtomic() async throws {
        let connection = try await Connection.open()
        try await connection.run("CREATE TEMP TABLE numbers (n int CHECK (n < 10))")

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.pipelined(
                [Statement("INSERT INTO numbers VALUES (1)"), Statement("INSERT INTO numbers VALUES (10)")],
                deadline: .soon
            )
        }

        #expect(error?.sqlstate == .checkViolation)
        #expect(try await connection.value("SELECT count(*) FROM numbers") == "0")
        await connection.close()
    }

    @Test("a script throws its first error and leaves the connection in step")
    func scriptError() async throws {
        let connection = try await Connection.open()

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.run("SELECT 1; SELECT 1/0; SELECT * FROM nowhere")
        }

        #expect(error?.sqlstate == "22012")
        #expect(try await connection.value("SELECT 2") == "2")
        await connection.close()
    }

    @Test("a terminated session reports why, then and afterwards")
    func terminatedWhileBusy() async throws {
        let connection = try await Connection.open()

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.value("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10)")
        }

        guard case .connectionLost(let server?) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(server.sqlstate == .adminShutdown)
        #expect(error?.isUnavailability == true)
        #expect(!connection.isUsable)
        let later = await #expect(throws: DatabaseError.self) { try await connection.value("SELECT 1") }
        #expect(later?.sqlstate == .adminShutdown)
    }

    @Test("a read-only transaction's refusal drops the connection")
    func readOnly() async throws {
        let connection = try await Connection.open()
        let table = uniqueName("readonly")
        try await connection.run("SET default_transaction_read_only = on")

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.value("CREATE TABLE \(table) (n int)")
        }

        #expect(error?.sqlstate == .readOnlyTransaction)
        #expect(error?.isUnavailability == true)
        #expect(!connection.isUsable)
    }

    @Test("a statement that the session has forgotten is prepared again")
    func forgottenStatement() async throws {
        let connection = try await Connection.open()
        #expect(try await connection.value("SELECT 41 + $1::int", [.int(1)]) == "42")
        try await connection.run("DEALLOCATE ALL")

        #expect(try await connection.value("SELECT 41 + $1::int", [.int(1)]) == "42")
        try await connection.run("DEALLOCATE ALL")
        let outcome = await connection.transaction([Statement("SELECT 41 + $1::int", [.int(1)])], deadline: .soon)

        #expect(outcome.committedValue?[0].rows[0][0] == "42")
        await connection.close()
    }

    @Test("a statement whose result has changed its type is prepared again")
    func changedResultType() async throws {
        let connection = try await Connection.open()
        try await connection.run("CREATE TEMP TABLE shape (a int); INSERT INTO shape VALUES (1)")
        #expect(try await connection.value("SELECT * FROM shape") == "1")
        try await connection.run("ALTER TABLE shape ALTER a TYPE text USING 'one'")

        #expect(try await connection.value("SELECT * FROM shape") == "one")
        await connection.close()
    }

    @Test("with preparing switched off, the session keeps no statements")
    func unprepared() async throws {
        let connection = try await Connection.open(preparesStatements: false)
        _ = try await connection.value("SELECT $1::int", [.int(1)])

        #expect(try await connection.value("SELECT count(*) FROM pg_prepared_statements") == "0")
        await connection.close()
    }

    @Test("a statement is prepared once a session")
    func preparedOnce() async throws {
        let connection = try await Connection.open()
        for _ in 1...3 { _ = try await connection.value("SELECT $1::int", [.int(1)]) }

        let count = "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1::int'"
        #expect(try await connection.value(count) == "1")
        await connection.close()
    }

    @Test("a second caller is refused while a statement is under way, and mixes nothing up")
    func interleaving() async throws {
        let connection = try await Connection.open()
        let pid = await connection.backendPID
        let barrier = try await Barrier()
        async let first = connection.value("SELECT 'first' FROM \(barrier.sql)")
        try await barrier.isReached(by: pid)

        let error = await #expect(throws: DatabaseError.self) { try await connection.value("SELECT 'second'") }
        let outcome = await connection.transaction([Statement("SELECT 1")], deadline: .soon)

        guard case .unavailable = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        guard case .unavailable = outcome.rollback?.error else {
            Issue.record("\(outcome)")
            return
        }
        await barrier.open()
        #expect(try await first == "first")
        #expect(try await connection.value("SELECT 'third'") == "third")
        await connection.close()
    }

    @Test("too many parameters are refused unsent")
    func tooManyParameters() async throws {
        let connection = try await Connection.open()

        let error = await #expect(throws: DatabaseError.self) {
            try await connection.value("SELECT 1", Array(repeating: "x", count: 70_000))
        }

        guard case .unavailable = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }
}
