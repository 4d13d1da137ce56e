import TestSupport

/// A service that reaches its database through a gate and stops at failpoints, and a tenant of it.
struct FailpointScene: Sendable {
    let stage: Stage
    let timeout: Int
    private let key: Tenant.Key

    /// - Parameter timeout: the service's time limit for a request, in seconds.
    static func open(timeout: Int, in place: Stage.Place = .shared) async throws -> FailpointScene {
        let settings = [
            "CUSTOMERD_POOL_SIZE": "3", "CUSTOMERD_RATE_LIMIT": "1000000",
            "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": String(timeout),
        ]
        let stage = try await Stage.open(
            settings, in: place, through: .gate, failpoints: try Failpoints(), prepare: Obstacle.triggers)
        let tenant = try await stage.tenant()
        // The chain has its head before a test wants to lock it.
        _ = try await tenant.delete(newID())
        return FailpointScene(stage: stage, timeout: timeout, key: tenant.key)
    }

    var database: TestDatabase { stage.database }
    var gate: TCPGate { stage.gate }
    var failpoints: Failpoints { stage.failpoints }

    /// The instance that runs now.
    var service: RunningService { stage.service }

    var tenant: Tenant { Tenant(database: database, service: service, key: key) }

    /// Starts another instance in the place of the one that was killed.
    func restart() async throws {
        try await stage.restart()
    }

    /// Loses what is under way, and lets everything pass from then on.
    func cut() {
        stage.cut()
    }

    /// Asks with the same key until the answer is neither 409 nor 503.
    ///
    /// - Parameter other: the instance to ask instead of the scene's own.
    func insist(
        _ customer: String, idempotencyKey: String, through other: RunningService? = nil
    ) async throws -> HTTPAnswer {
        let tenant = other.map { self.tenant.through($0) } ?? self.tenant
        return try await tenant.insist(customer, idempotencyKey: idempotencyKey)
    }

    /// The outcomes that the trail holds about a customer, conflicts left out.
    func outcomes(_ customer: String) async throws -> [String] {
        try await tenant.entries(about: customer).compactMap { $0["outcome"] }.filter { $0 != "CONFLICT" }
    }
}
