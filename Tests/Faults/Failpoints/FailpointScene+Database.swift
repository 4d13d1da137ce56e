import TestSupport

extension FailpointScene {
    private static let cluster = Task { try await aside { try PrivateCluster() } }

    /// Opens one on a database of its own, in a cluster that the scenes of this process share.
    static func open(timeout: Int) async throws -> FailpointScene {
        let database = try await TestDatabase.migrated(in: try await cluster.value)
        try await database.run(Obstacle.triggers)
        let scene = try await open(on: database, timeout: timeout)
        // The chain has its head before a test wants to lock it.
        _ = try await scene.tenant.delete(newID())
        return scene
    }

    /// Asks with the same key until the answer is neither 409 nor 503.
    ///
    /// - Parameter other: the instance to ask instead of the scene's own.
    func insist(
        _ customer: String, idempotencyKey: String, through other: RunningService? = nil
    ) async throws -> HTTPAnswer {
        let tenant = other.map { self.tenant.through($0) } ?? self.tenant
        var answer = HTTPAnswer(status: 503)
        try await eventually("the retry was answered", within: .seconds(40)) {
            answer = try await tenant.delete(customer, idempotencyKey: idempotencyKey)
            return ![409, 503].contains(answer.status)
        }
        return answer
    }

    /// The outcomes that the trail holds about a customer, conflicts left out.
    func outcomes(_ customer: String) async throws -> [String] {
        try await tenant.entries(about: customer).compactMap { $0["outcome"] }.filter { $0 != "CONFLICT" }
    }

    /// What must hold when a test is done with it.
    func verify() async throws -> Bool {
        let verdict = try await database.customerd(["audit", "verify", "--json"])
        let gaps = try await database.appsWithGaps()
        return verdict.contains(#""broken_at":null"#) && gaps == []
    }
}
