import LibPQ
import TestSupport
import Testing

@Suite("Pool")
struct PoolTests {
    private func backend(_ pool: ConnectionPool) async throws(DatabaseError) -> Int32 {
        try await pool.withConnection(deadline: .soon) { connection throws(DatabaseError) in
            await connection.backendPID
        }
    }

    @Test("connections are opened on demand and used again")
    func reuse() async throws {
        let pool = ConnectionPool.make()

        let first = try await backend(pool)
        let second = try await backend(pool)

        #expect(first == second)
        #expect(pool.statistics == PoolStatistics(size: 1, idle: 1, inUse: 0, waiting: 0, isReachable: true))
        await pool.shutdown()
    }

    @Test("when all are on loan past the deadline, the pool is unavailable, and serves the next one")
    func exhausted() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))

        try await pool.withConnection(deadline: .soon) { _ throws(DatabaseError) in
            let start = ContinuousClock.now
            do throws(DatabaseError) {
                try await pool.withConnection(deadline: .now + .milliseconds(50)) { _ in }
                Issue.record("a connection out of nowhere")
            } catch {
                guard case .unavailable = error else { throw error }
            }
            #expect(ContinuousClock.now - start < .seconds(2))
        }

        #expect(try await backend(pool) != 0)
        await pool.shutdown()
    }

    @Test("cancelling who waits ends the waiting, and loses no connection")
    func cancelledWaiter() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))

        try await pool.withConnection(deadline: .soon) { _ throws(DatabaseError) in
            let waiting = Task { try await pool.withConnection(deadline: .soon) { _ in } }
            while pool.statistics.waiting == 0 { await Task.yield() }
            waiting.cancel()
            let result = await waiting.result
            #expect(throws: DatabaseError.cancelled) { try result.get() }
        }

        #expect(try await backend(pool) != 0)
        await pool.shutdown()
    }

    @Test("deadlines and cancellations that race with the handing over lose no connection")
    func races() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 2))

        await withTaskGroup { group in
            for _ in 1...400 {
                let task = Task {
                    try await pool.withConnection(deadline: .now + .milliseconds(Int.random(in: 1...60))) {
                        connection in
                        _ = try? await connection.value("SELECT 1")
                    }
                }
                group.addTask {
                    if Bool.random() {
                        try? await Task.sleep(for: .milliseconds(Int.random(in: 0...40)))
                        task.cancel()
                    }
                    _ = await task.result
                }
            }
        }

        try await eventually("all connections are back") { pool.statistics.inUse == 0 }
        #expect(pool.statistics.waiting == 0)
        #expect(pool.statistics.size <= 2)
        let answers = try await withThrowingTaskGroup { group in
            for _ in 1...2 { group.addTask { try await backend(pool) } }
            return try await group.reduce(0) { count, _ in count + 1 }
        }
        #expect(answers == 2)
        await pool.shutdown()
    }

    @Test("an open transaction is rolled back before the connection is lent again")
    func openTransaction() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))
        let pid = try await pool.withConnection(deadline: .soon) { connection throws(DatabaseError) in
            try await connection.run("BEGIN; CREATE TEMP TABLE leftover (n int)")
            return await connection.backendPID
        }

        let (next, leftover) = try await pool.withConnection(deadline: .soon) { connection throws(DatabaseError) in
            (await connection.backendPID, try await connection.value("SELECT to_regclass('leftover')"))
        }

        #expect(next == pid)
        #expect(leftover == nil)
        await pool.shutdown()
    }

    @Test("a connection that is still busy when it comes back isn't used again")
    func stillBusy() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))
        let barrier = try await Barrier()
        let pid = try await pool.withConnection(deadline: .soon) { connection throws(DatabaseError) in
            let pid = await connection.backendPID
            Task { try await connection.value("SELECT FROM \(barrier.sql)") }
            while connection.isUsable, (try? await barrier.isReached(by: pid)) == nil { await Task.yield() }
            return pid
        }

        #expect(try await backend(pool) != pid)
        await barrier.open()
        await pool.shutdown()
    }

    @Test("a session that ends while it is idle is replaced without anybody noticing")
    func endedWhileIdle() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))
        let pid = try await backend(pool)
        try await PrivateCluster.terminate(pid)
        try await eventually("the pool notices") { pool.statistics.size == 0 }

        #expect(try await backend(pool) != pid)
        await pool.shutdown()
    }

    @Test("a session that ends on loan is replaced")
    func endedOnLoan() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))

        let outcome = await pool.transaction(
            [Statement("SELECT pg_terminate_backend(pg_backend_pid())")], deadline: .soon
        )

        #expect(outcome.rollback?.error.sqlstate == .adminShutdown)
        #expect(try await backend(pool) != 0)
        await pool.shutdown()
    }

    @Test("who waits is served in order")
    func order() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1))
        let (served, continuation) = AsyncStream<Int>.makeStream()

        try await pool.withConnection(deadline: .soon) { _ throws(DatabaseError) in
            for number in 1...20 {
                Task { try await pool.withConnection(deadline: .soon) { _ in continuation.yield(number) } }
                while pool.statistics.waiting < number { await Task.yield() }
            }
        }

        var order: [Int] = []
        for await number in served {
            order.append(number)
            if order.count == 20 { break }
        }
        #expect(order == Array(1...20))
        await pool.shutdown()
    }

    @Test("maintenance fills the pool, and its end closes everything")
    func maintenance() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 3))
        let maintenance = Task { await pool.run() }
        try await eventually("the pool is full") { pool.statistics.idle == 3 }

        maintenance.cancel()
        await maintenance.value

        #expect(pool.statistics.size == 0)
        await #expect(throws: DatabaseError.unavailable("the pool is closed")) { try await backend(pool) }
    }

    @Test("a connection past its lifetime is replaced")
    func lifetime() async throws {
        let pool = ConnectionPool.make(
            configuration: PoolConfiguration(size: 1, maximumLifetime: .milliseconds(50))
        )
        let pid = try await backend(pool)
        try await Task.sleep(for: .milliseconds(60))

        #expect(try await backend(pool) != pid)
        await pool.shutdown()
    }

    @Test("a connection that was idle for long is checked and lent again")
    func idleCheck() async throws {
        let pool = ConnectionPool.make(configuration: PoolConfiguration(size: 1, idleCheckAfter: .zero))
        let pid = try await backend(pool)

        #expect(try await backend(pool) == pid)
        await pool.shutdown()
    }

    @Test("without a connection, a transaction is rolled back as unavailable")
    func transactionWithoutConnection() async throws {
        let pool = ConnectionPool.make(ConnectionSettings(conninfo: "host=/nowhere"))

        let outcome = await pool.transaction([Statement("SELECT 1")], deadline: .soon)
        let interactive = await pool.withTransaction(deadline: .soon) { _ in }

        guard case .unavailable = outcome.rollback?.error else {
            Issue.record("\(outcome)")
            return
        }
        guard case .unavailable = interactive.rollback?.error else {
            Issue.record("\(interactive)")
            return
        }
        await pool.shutdown()
    }
}
