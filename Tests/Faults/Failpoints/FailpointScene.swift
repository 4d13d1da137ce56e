import NIOConcurrencyHelpers
import TestSupport

/// A service that reaches its database through a gate and stops at failpoints, and a tenant of it.
final class FailpointScene: Sendable {
    let database: TestDatabase
    let gate: TCPGate
    let failpoints: Failpoints
    let timeout: Int
    private let key: Tenant.Key
    private let settings: [String: String]
    private let running: NIOLockedValueBox<RunningService>

    private init(
        _ database: TestDatabase, _ gate: TCPGate, _ failpoints: Failpoints, timeout: Int, _ key: Tenant.Key,
        _ settings: [String: String], _ service: RunningService
    ) {
        self.database = database
        self.gate = gate
        self.failpoints = failpoints
        self.timeout = timeout
        self.key = key
        self.settings = settings
        running = NIOLockedValueBox(service)
    }

    /// - Parameter timeout: the service's time limit for a request, in seconds.
    static func open(on database: TestDatabase, timeout: Int) async throws -> FailpointScene {
        let cluster = database.cluster
        guard let socket = cluster.socketPath else { throw NeverHappened("the cluster had a Unix socket") }
        let gate = try TCPGate(before: socket)
        let failpoints = try Failpoints()
        let url = "postgresql://customerd_service@127.0.0.1:\(gate.port)/\(database.name)?sslmode=disable"
        let settings = [
            "DATABASE_URL": url, "CUSTOMERD_POOL_SIZE": "3", "CUSTOMERD_RATE_LIMIT": "1000000",
            "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": String(timeout),
        ].merging(failpoints.environment) { $1 }
        let key = try await database.createKey(app: newID())
        let service = try await RunningService.start(on: database, settings)
        return FailpointScene(database, gate, failpoints, timeout: timeout, key, settings, service)
    }

    /// The instance that runs now.
    var service: RunningService { running.withLockedValue { $0 } }

    var tenant: Tenant { Tenant(database: database, service: service, key: key) }

    /// Starts another instance in the place of the one that was killed.
    func restart() async throws {
        let service = try await RunningService.start(on: database, settings, port: service.port)
        running.withLockedValue { $0 = service }
    }

    /// Loses what is under way, and lets everything pass from then on.
    func cut() {
        gate.cut()
        gate.release()
    }

    func close() async -> Int32? {
        failpoints.disarm()
        gate.release()
        service.terminate()
        return await service.exitStatus(within: .seconds(20))
    }
}
