import TestSupport
import Testing

@testable import LibPQ

/// With a cluster of their own, which they stop.
@Suite("Outages")
struct PoolOutageTests {
    @Test(
        "while the cluster is down all callers are refused immediately; when it is back, service resumes",
        arguments: ["fast", "immediate"])
    func restart(mode: String) async throws {
        let cluster = try await aside { try PrivateCluster() }
        let pool = ConnectionPool.make(
            ConnectionSettings(conninfo: cluster.url()), configuration: PoolConfiguration(size: 4)
        )
        let maintenance = Task { await pool.run() }
        try await eventually("the pool is full") { pool.statistics.idle == 4 }

        try await aside { try cluster.stop(mode: mode) }
        try await eventually("the pool notices") { !pool.statistics.isReachable }
        for _ in 1...50 {
            let start = ContinuousClock.now
            await #expect(throws: DatabaseError.self) {
                try await ask(pool, deadline: start + .hang * 2)
            }
            #expect(ContinuousClock.now - start < .hang, "it doesn't wait for its deadline")
        }

        try await aside { try cluster.start() }
        try await eventually("service resumes") { (try? await ask(pool)) == "1" }
        try await eventually("the pool is full again") { pool.statistics.idle == 4 }

        maintenance.cancel()
        await maintenance.value
        try await aside { try cluster.stop(mode: "immediate") }
    }

    @Test("a short-lived pool without maintenance recovers as well")
    func withoutMaintenance() async throws {
        let cluster = try await aside { try PrivateCluster() }
        let pool = ConnectionPool.make(ConnectionSettings(conninfo: cluster.url()))
        #expect(try await ask(pool) == "1")

        try await aside { try cluster.stop() }
        await #expect(throws: DatabaseError.self) { try await ask(pool) }
        try await aside { try cluster.start() }

        try await eventually("service resumes") { (try? await ask(pool)) == "1" }
        await pool.shutdown()
        try await aside { try cluster.stop(mode: "immediate") }
    }

    private func ask(
        _ pool: ConnectionPool, deadline: ContinuousClock.Instant = .soon
    ) async throws(DatabaseError) -> String? {
        try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
            try await connection.value("SELECT 1")
        }
    }
}
