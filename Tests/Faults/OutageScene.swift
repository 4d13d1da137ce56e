import TestSupport
import Testing

/// A service with little patience in front of a database that is going to fail, and an app that asks it.
struct OutageScene: Sendable {
    let stage: Stage
    let tenant: Tenant

    var database: TestDatabase { stage.database }
    var service: RunningService { stage.service }

    /// - Parameters:
    ///   - settings: environment variables of the service, in addition.
    ///   - descriptors: how many the service may have open; as many as we may when nil.
    static func open(
        in place: Stage.Place = .shared, through way: Stage.Way = .direct, _ settings: [String: String] = [:],
        descriptors: (soft: Int, hard: Int)? = nil
    ) async throws -> OutageScene {
        let settings = Self.settings.merging(settings) { $1 }
        let stage = try await Stage.open(settings, in: place, through: way, descriptors: descriptors)
        return OutageScene(stage: stage, tenant: try await stage.tenant())
    }

    /// Every service of these tests gives up soon, and has no rate limit.
    static let settings = ["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "2", "CUSTOMERD_RATE_LIMIT": "1000000"]

    /// What a request gets that can't be served at the moment, and in time.
    func expectUnavailable(
        _ answer: HTTPAnswer, after elapsed: Duration, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(answer.status == 503, sourceLocation: sourceLocation)
        #expect(answer.hasErrorForm, sourceLocation: sourceLocation)
        #expect(answer["retry-after"].flatMap { Int($0) } ?? 0 >= 1, sourceLocation: sourceLocation)
        #expect(elapsed < .hang, "no request waits long", sourceLocation: sourceLocation)
    }

    /// The answer to a retry with the same key, once it is neither 409 nor 503.
    func insist(on customer: String, idempotencyKey: String) async throws -> HTTPAnswer {
        try await tenant.insist(customer, idempotencyKey: idempotencyKey)
    }
}

extension Tenant {
    /// Asks for a deletion with one key until the answer is neither 409 nor 503.
    func insist(_ customer: String, idempotencyKey: String) async throws -> HTTPAnswer {
        var answer = HTTPAnswer(status: 503)
        try await eventually("\(customer) was answered for", within: .seconds(40)) {
            answer = try await delete(customer, idempotencyKey: idempotencyKey)
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
