import LibPQ
import TestSupport
import Testing

@Suite("Cancellation and deadlines")
struct CancellationTests {
    @Test("cancelling the task cancels the statement on the server, and the connection lives on")
    func cancelsStatement() async throws {
        let connection = try await Connection.open()
        let pid = await connection.backendPID
        let barrier = try await Barrier()
        let task = Task { try await connection.value("SELECT FROM \(barrier.sql)") }
        try await barrier.isReached(by: pid)

        task.cancel()

        await #expect(throws: DatabaseError.cancelled) { try await task.value }
        #expect(connection.isUsable)
        #expect(try await connection.value("SELECT 1") == "1")
        await connection.close()
    }

    @Test("a cancelled task sends nothing")
    func alreadyCancelled() async throws {
        let connection = try await Connection.open()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await connection.value("SELECT 1/0")
        }

        await #expect(throws: DatabaseError.cancelled) { try await task.value }
        await connection.close()
    }

    @Test("past the deadline the connection is closed, and the server is asked to stop")
    func deadline() async throws {
        let connection = try await Connection.open()
        let pid = await connection.backendPID

        await #expect(throws: DatabaseError.deadlineExceeded) {
            try await connection.query(Statement("SELECT pg_sleep(60)"), deadline: .now + .seconds(1))
        }

        #expect(!connection.isUsable)
        let watcher = try await Connection.open()
        try await eventually("the session ends") {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1::int"
            return try await watcher.value(sql, [.int(pid)]) == "0"
        }
        await watcher.close()
    }

    @Test("a deadline that has passed already sends nothing, and the connection lives on")
    func deadlineBefore() async throws {
        let connection = try await Connection.open()

        await #expect(throws: DatabaseError.deadlineExceeded) {
            try await connection.query(Statement("SELECT 1"), deadline: .now - .seconds(1))
        }

        #expect(try await connection.value("SELECT 1") == "1")
        await connection.close()
    }

    @Test("closing a connection ends the statement that is under way")
    func closeWhileBusy() async throws {
        let connection = try await Connection.open()
        let pid = await connection.backendPID
        let barrier = try await Barrier()
        let task = Task { try await connection.value("SELECT FROM \(barrier.sql)") }
        try await barrier.isReached(by: pid)

        await connection.close()

        await #expect(throws: DatabaseError.connectionLost(nil)) { try await task.value }
    }

    @Test("forty statements that wait hold up no cooperative thread")
    func threadsStayFree() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 40))
        let barrier = try await Barrier()

        try await withThrowingTaskGroup { group in
            for _ in 1...40 {
                group.addTask {
                    try await pool.withConnection(deadline: .soon) { connection throws(DatabaseError) in
                        _ = try await connection.query(Statement("SELECT FROM \(barrier.sql)"), deadline: .soon)
                        _ = try await connection.query(Statement("SELECT pg_advisory_unlock_all()"), deadline: .soon)
                    }
                }
            }
            // If waiting took a thread, there would be as many as there are processors, and nobody to look.
            try await barrier.isReached(byMany: 40)
            await barrier.open()
            try await group.waitForAll()
        }

        await pool.shutdown()
    }
}
