import TestSupport
import Testing

/// A service before a database that is going to fail, and an app that asks it.
struct OutageScene: Sendable {
    let database: TestDatabase
    let service: RunningService
    let tenant: Tenant

    /// What every service of these tests is told: patience is short, and nobody is limited.
    static let settings = ["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "2", "CUSTOMERD_RATE_LIMIT": "1000000"]

    /// A service before a database of a cluster of the test's own.
    ///
    /// - Parameters:
    ///   - url: what the service connects with, if not with the cluster's own URL.
    ///   - settings: environment variables of the service.
    static func open(
        in cluster: PrivateCluster,
        through url: (_ database: String) -> String? = { _ in nil },
        _ settings: [String: String] = [:]
    ) async throws -> OutageScene {
        let database = try await TestDatabase.migrated(in: cluster)
        var settings = settings
        settings["DATABASE_URL"] = url(database.name)
        return try await open(on: database, settings)
    }

    /// A service of the test's own before a database that others use as well.
    ///
    /// - Parameter descriptors: how many the service may have open; as many as we may when nil.
    static func open(
        on database: TestDatabase, _ settings: [String: String] = [:], descriptors: (soft: Int, hard: Int)? = nil
    ) async throws -> OutageScene {
        let settings = Self.settings.merging(settings) { $1 }
        let service = try await RunningService.start(on: database, settings, descriptors: descriptors)
        let tenant = Tenant(database: database, service: service, key: try await database.createKey(app: newID()))
        return OutageScene(database: database, service: service, tenant: tenant)
    }

    /// Ends the service, which has to end well.
    func close() async {
        service.terminate()
        let status = await service.exitStatus(within: .seconds(30))
        #expect(status == 0, "the service ends by SIGTERM: \(service.log.suffix(2000))")
    }

    /// What a request gets that can't be served at the moment, and in time.
    func expectUnavailable(
        _ answer: HTTPAnswer, after elapsed: Duration, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer.status == 503, sourceLocation: sourceLocation)
        #expect(answer.hasErrorForm, sourceLocation: sourceLocation)
        #expect(answer["retry-after"].flatMap { Int($0) } ?? 0 >= 1, sourceLocation: sourceLocation)
        #expect(elapsed < .seconds(8), "nobody waits for long", sourceLocation: sourceLocation)
    }

    /// The answer to a retry with the same key, once it is neither 409 nor 503.
    func insist(on customer: String, idempotencyKey: String) async throws -> HTTPAnswer {
        var answer = HTTPAnswer(status: 503)
        try await eventually("\(customer) was answered for", within: .seconds(40)) {
            answer = try await tenant.delete(customer, idempotencyKey: idempotencyKey)
            return ![409, 503].contains(answer.status)
        }
        return answer
    }
}

/// How long something takes.
func timed<Value: Sendable>(
    _ body: () async throws -> Value
) async rethrows -> (value: Value, elapsed: Duration) {
    let start = ContinuousClock.now
    let value = try await body()
    return (value, ContinuousClock.now - start)
}
