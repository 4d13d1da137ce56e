import LibPQ
import TestSupport
import Testing

/// Other clients have all of PostgreSQL's sessions.
@Suite("max_connections used up", .serialized, .stages)
struct NoSessionsTests {
    /// Sessions that a role without privileges can have.
    private static let sessions = 16

    /// A refused connection takes one of the reserved sessions for a moment, so that there have to be enough for the
    /// test.
    private static let cluster = Stage.Place.ownCluster(settings: [
        "max_connections = \(sessions + 12)", "superuser_reserved_connections = 12",
    ])

    /// Opens sessions until there are no more to be had.
    private static func occupy(_ database: TestDatabase) async -> [Connection] {
        var sessions: [Connection] = []
        while let session = try? await database.connect(as: "customerd_service") { sessions.append(session) }
        return sessions
    }

    @Test("a running service refuses in time, makes do with the sessions it gets, and recovers automatically")
    func running() async throws {
        let scene = try await OutageScene.open(in: Self.cluster, ["CUSTOMERD_POOL_SIZE": "4"])
        let customers = try await scene.tenant.insert(count: 12)
        let keys = customers.map { _ in newID() }
        // While it can't notice, its sessions end, and others take their places.
        scene.service.pause()
        try await scene.database.cluster.psql(
            "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE usename = 'customerd_service'")
        var occupants = await Self.occupy(scene.database)
        let occupied = occupants.count
        scene.service.resume()

        var refused: [(HTTPAnswer, Duration)] = []
        for (customer, key) in zip(customers, keys).prefix(4) {
            refused.append(try await timed { try await scene.tenant.delete(customer, idempotencyKey: key) })
        }
        let liveness = try await HTTPCall("GET", "/health/live").send(to: scene.service.port)
        let isReady = try await scene.service.isReady
        var statuses: Set<Int> = []
        for _ in 1...4 {
            await occupants.popLast()?.close()
            for (customer, key) in zip(customers, keys) {
                statuses.insert(try await scene.tenant.delete(customer, idempotencyKey: key).status)
            }
        }
        for session in occupants { await session.close() }
        try await eventually("the service was back") { try await scene.service.isReady }
        var answers: [HTTPAnswer] = []
        for (customer, key) in zip(customers, keys) {
            answers.append(try await scene.insist(on: customer, idempotencyKey: key))
        }

        #expect(occupied >= 8, "there was something to take")
        for (answer, elapsed) in refused { scene.expectUnavailable(answer, after: elapsed) }
        #expect(liveness.status == 200)
        #expect(!isReady)
        #expect(statuses.isSubset(of: [200, 409, 503]))
        #expect(answers.map(\.status) == customers.map { _ in 200 })
        let entries = try await scene.tenant.entries().filter { $0["outcome"] == "SUCCEEDED" }
        #expect(entries.compactMap { $0["customer_id"] }.sorted() == customers.sorted())
    }

    @Test("a service starts with few sessions, says so when there are none, and takes what comes free")
    func starting() async throws {
        let stage = try await Stage.open(OutageScene.settings, in: Self.cluster, isStarted: false)
        let database = stage.database
        var occupants = await Self.occupy(database)

        let without = try await Customerd.run(
            ["serve"],
            ["DATABASE_URL": database.url(user: "customerd_service"), "CUSTOMERD_PORT": "\(RunningService.freePort())"])
        for _ in 1...4 { await occupants.popLast()?.close() }
        try await stage.restart()
        let scene = OutageScene(stage: stage, tenant: try await stage.tenant())
        let customers = try await scene.tenant.insert(count: 2)
        let few = try await scene.insist(on: customers[0], idempotencyKey: newID())
        for session in occupants { await session.close() }
        let enough = try await scene.insist(on: customers[1], idempotencyKey: newID())

        #expect(without.status == 3)
        #expect(without.errors.contains("connection slots") || without.errors.contains("too many clients"))
        #expect([few.status, enough.status] == [200, 200])
        #expect(try await scene.tenant.entries().map { $0["outcome"] }.filter { $0 == "SUCCEEDED" }.count == 2)
    }
}
