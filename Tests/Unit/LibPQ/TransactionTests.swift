import LibPQ
import TestSupport
import Testing

@Suite("Transactions")
struct TransactionTests {
    /// A table that is there for every session, and its number of rows.
    struct Table {
        let name = uniqueName("numbers")
        let connection: Connection

        init() async throws {
            connection = try await Connection.open()
            try await connection.run("CREATE TABLE \(name) (n int CHECK (n < 10))")
        }

        func insert(_ n: Int) -> Statement {
            Statement("INSERT INTO \(name) VALUES ($1::int)", [.int(n)])
        }

        func count() async throws -> String? {
            try await connection.value("SELECT count(*) FROM \(name)")
        }

        func drop() async throws {
            try await connection.run("DROP TABLE \(name)")
            await connection.close()
        }
    }

    @Test("one trip commits, and gives back each statement's result")
    func commits() async throws {
        let table = try await Table()
        let connection = try await Connection.open()

        let outcome = await connection.transaction(
            [
                table.insert(1), Statement("SELECT n FROM \(table.name)"),
                Statement("SELECT current_setting('transaction_isolation')"),
            ],
            deadline: .soon
        )

        let results = try #require(outcome.committedValue)
        #expect(results.map(\.commandTag) == ["INSERT 0 1", "SELECT 1", "SELECT 1"])
        #expect(results[1].rows[0].int("n") == 1)
        #expect(results[2].rows[0][0] == "read committed")
        #expect(try await table.count() == "1")
        try await table.drop()
    }

    @Test("a refused statement leaves the results before it, and a clean connection")
    func refusedStatement() async throws {
        let table = try await Table()

        let outcome = await table.connection.transaction(
            [table.insert(1), Statement("SELECT n FROM \(table.name)"), table.insert(10), table.insert(2)],
            deadline: .soon
        )

        let rollback = try #require(outcome.rollback)
        #expect(rollback.error.sqlstate == .checkViolation)
        #expect(rollback.completed.map(\.commandTag) == ["INSERT 0 1", "SELECT 1"])
        #expect(rollback.completed[1].rows[0].int("n") == 1)
        #expect(try await table.count() == "0")
        #expect(table.connection.isUsable)
        try await table.drop()
    }

    @Test("a statement that can't be parsed is refused at its place")
    func unparsableStatement() async throws {
        let table = try await Table()

        let outcome = await table.connection.transaction([table.insert(1), Statement("SELEC")], deadline: .soon)

        let rollback = try #require(outcome.rollback)
        #expect(rollback.error.sqlstate == .syntaxError)
        #expect(rollback.completed.count == 1)
        #expect(try await table.count() == "0")
        try await table.drop()
    }

    @Test("a deferred constraint is refused at COMMIT, after all statements")
    func refusedCommit() async throws {
        let connection = try await Connection.open()
        try await connection.run(
            """
            CREATE TEMP TABLE parent (id int PRIMARY KEY);
            CREATE TEMP TABLE child (
                parent_id int CONSTRAINT child_parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED
            );
            """
        )
        let statements = [Statement("INSERT INTO child VALUES (1)"), Statement("SELECT 1")]

        let outcome = await connection.transaction(statements, deadline: .soon)

        let rollback = try #require(outcome.rollback)
        #expect(rollback.error.sqlstate == .foreignKeyViolation)
        #expect(rollback.error.serverError?.constraint == "child_parent")
        #expect(rollback.completed.count == statements.count)
        #expect(try await connection.value("SELECT count(*) FROM child") == "0")
        await connection.close()
    }

    @Test("a session terminated in a statement has certainly not committed")
    func terminatedInStatement() async throws {
        let table = try await Table()
        let connection = try await Connection.open()
        let pid = await connection.backendPID
        let barrier = try await Barrier()

        async let outcome = connection.transaction(
            [
                table.insert(1), Statement("SELECT repeat('x', 1000000)"), Statement("SELECT FROM \(barrier.sql)"),
                table.insert(2),
            ],
            deadline: .soon
        )
        try await barrier.isReached(by: pid)
        try await PrivateCluster.terminate(pid)

        let ending = await outcome
        let rollback = try #require(ending.rollback)
        guard case .connectionLost(let error?) = rollback.error else {
            Issue.record("\(rollback.error)")
            return
        }
        #expect(error.sqlstate == .adminShutdown)
        #expect(rollback.completed.count == 2)
        #expect(!connection.isUsable)
        #expect(try await table.count() == "0")
        try await table.drop()
    }

    @Test("a session terminated before anything was sent has certainly not committed")
    func terminatedBefore() async throws {
        let table = try await Table()
        let connection = try await Connection.open()
        try await PrivateCluster.terminate(await connection.backendPID)
        try await eventually("the connection notices its end") { !connection.isUsable }

        let outcome = await connection.transaction([table.insert(1)], deadline: .soon)

        #expect(outcome.rollback?.error.sqlstate == .adminShutdown)
        #expect(try await table.count() == "0")
        try await table.drop()
    }

    @Test("a connection cut before the server saw the transaction leaves it in doubt", .enabled(if: canUseGate))
    func cutBeforeCommit() async throws {
        let table = try await Table()
        let gate = try TCPGate.beforeSharedCluster()
        let connection = try await Connection.open(through: gate)
        let sighting = gate.holdRequests(whenRequestContains: "COMMIT\u{0}")

        async let outcome = connection.transaction([table.insert(1)], deadline: .soon)
        await sighting.wait()
        gate.cut()

        #expect(await outcome.doubt == .connectionLost(nil))
        #expect(!connection.isUsable)
        #expect(try await table.count() == "0")
        try await table.drop()
    }

    @Test("a connection cut after COMMIT, before its answer, leaves it in doubt", .enabled(if: canUseGate))
    func cutAfterCommit() async throws {
        let table = try await Table()
        let gate = try TCPGate.beforeSharedCluster()
        let connection = try await Connection.open(through: gate)
        let sighting = gate.holdReplies(whenRequestContains: "COMMIT\u{0}")

        async let outcome = connection.transaction([table.insert(1)], deadline: .soon)
        await sighting.wait()
        while try await table.count() == "0" { await Task.yield() }
        gate.cut()

        #expect(await outcome.doubt == .connectionLost(nil))
        try await table.drop()
    }

    @Test("past the deadline a transaction is in doubt, and its connection is closed", .enabled(if: canUseGate))
    func deadlineInCommit() async throws {
        let table = try await Table()
        let gate = try TCPGate.beforeSharedCluster()
        let connection = try await Connection.open(through: gate)
        _ = gate.holdReplies(whenRequestContains: "COMMIT\u{0}")

        let outcome = await connection.transaction([table.insert(1)], deadline: .now + .seconds(1))

        #expect(outcome.doubt == .deadlineExceeded)
        #expect(!connection.isUsable)
        try await table.drop()
    }

    @Test("a transaction isn't cancelled with its task")
    func neverCancelled() async throws {
        let table = try await Table()
        let connection = try await Connection.open()
        let pid = await connection.backendPID
        let barrier = try await Barrier()
        let statements = [table.insert(1), Statement("SELECT FROM \(barrier.sql)")]
        let task = Task { await connection.transaction(statements, deadline: .soon) }
        try await barrier.isReached(by: pid)

        task.cancel()
        await barrier.open()

        #expect(await task.value.committedValue?.count == 2)
        #expect(try await table.count() == "1")
        try await table.drop()
    }

    @Test("an interactive transaction commits what its body did")
    func interactiveCommits() async throws {
        let table = try await Table()
        let pool = ConnectionPool.make()

        let outcome = await pool.withTransaction(deadline: .soon) { connection throws(DatabaseError) in
            _ = try await connection.query(table.insert(1), deadline: .soon)
            return try await connection.value("SELECT count(*) FROM \(table.name)")
        }

        #expect(outcome.committedValue == "1")
        #expect(try await table.count() == "1")
        await pool.shutdown()
        try await table.drop()
    }

    @Test("an interactive transaction rolls back when its body throws")
    func interactiveRollsBack() async throws {
        let table = try await Table()
        let pool = ConnectionPool.make()

        let outcome = await pool.withTransaction(deadline: .soon) { connection throws(DatabaseError) in
            _ = try await connection.query(table.insert(1), deadline: .soon)
            throw DatabaseError.cancelled
        }

        #expect(outcome.rollback?.error == .cancelled)
        #expect(try await table.count() == "0")
        #expect(pool.statistics.idle == 1)
        await pool.shutdown()
        try await table.drop()
    }

    @Test("COMMIT after an error that the body swallowed is a rollback, with that error as its reason")
    func swallowedError() async throws {
        let table = try await Table()
        let pool = ConnectionPool.make()

        let outcome = await pool.withTransaction(deadline: .soon) { connection in
            _ = try? await connection.query(table.insert(1), deadline: .soon)
            _ = try? await connection.query(table.insert(10), deadline: .soon)
            return "done"
        }

        #expect(outcome.rollback?.error.sqlstate == .checkViolation)
        #expect(try await table.count() == "0")
        await pool.shutdown()
        try await table.drop()
    }

    @Test("an interactive COMMIT that is cut off is in doubt", .enabled(if: canUseGate))
    func interactiveInDoubt() async throws {
        let table = try await Table()
        let gate = try TCPGate.beforeSharedCluster()
        let pool = ConnectionPool.make(.shared(through: gate))
        let sighting = gate.holdReplies(whenRequestContains: "COMMIT\u{0}")

        async let outcome = pool.withTransaction(deadline: .soon) { connection throws(DatabaseError) in
            try await connection.query(table.insert(1), deadline: .soon).affectedRows
        }
        await sighting.wait()
        gate.cut()

        #expect(await outcome.doubt == .connectionLost(nil))
        await pool.shutdown()
        try await table.drop()
    }

    @Test("a lost row lock is a serialization failure that may be retried")
    func retryable() async throws {
        let table = try await Table()
        try await table.connection.run("INSERT INTO \(table.name) VALUES (1)")
        let pool = ConnectionPool.make()

        let outcome = await pool.withTransaction(deadline: .soon) { connection throws(DatabaseError) in
            _ = try await connection.query(Statement("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"), deadline: .soon)
            _ = try await connection.value("SELECT n FROM \(table.name)")
            _ = try await table.connection.query(Statement("UPDATE \(table.name) SET n = 2"), deadline: .soon)
            _ = try await connection.query(Statement("UPDATE \(table.name) SET n = 3"), deadline: .soon)
        }

        #expect(outcome.rollback?.error.sqlstate == .serializationFailure)
        #expect(outcome.rollback?.error.isRetryable == true)
        await pool.shutdown()
        try await table.drop()
    }
}
