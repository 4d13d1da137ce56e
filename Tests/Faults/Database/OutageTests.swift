import LibPQ
import TestSupport
import Testing

/// The database is away, or busy.
@Suite("Without a database", .stages)
struct OutageTests {
    private static let unavailable =
        #"{"statusCode":503,"message":"Service temporarily unavailable","error":"Service Unavailable"}"#

    @Test("requests get a 503 promptly, and the service recovers automatically", arguments: ["fast", "immediate"])
    func stopped(mode: String) async throws {
        let stage = try await Stage.open(in: .ownCluster())
        let (cluster, service) = (stage.database.cluster, stage.service)
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 3)
        let keys = customers.map { _ in newID() }
        #expect(try await tenant.delete(customers[0], idempotencyKey: keys[0]).status == 200)

        try await aside { try cluster.stop(mode: mode) }
        var answers: [HTTPAnswer] = []
        let start = ContinuousClock.now
        for (customer, key) in zip(customers, keys) {
            answers.append(try await tenant.delete(customer, idempotencyKey: key))
        }
        answers.append(try await tenant.delete("no-uuid"))
        answers.append(try await HTTPCall("DELETE", "/api/v0/customers/x").send(to: service.port))
        let elapsed = ContinuousClock.now - start
        let readiness = try await HTTPCall("GET", "/health/ready").send(to: service.port)
        let liveness = try await HTTPCall("GET", "/health/live").send(to: service.port)
        try await aside { try cluster.start() }
        try await eventually("the service was back", within: .seconds(60)) { try await service.isReady }
        var retried: [HTTPAnswer] = []
        for (customer, key) in zip(customers, keys) {
            retried.append(try await tenant.delete(customer, idempotencyKey: key))
        }

        #expect(answers.map(\.status) == [503, 503, 503, 503, 503])
        #expect(answers.allSatisfy { $0.body == Self.unavailable && $0["content-type"] == "application/json" })
        #expect(answers.allSatisfy { $0["retry-after"].flatMap { Int($0) }.map { $0 >= 1 } == true })
        #expect(elapsed < .hang, "no request waits for an unreachable database")
        #expect(readiness.status == 503)
        #expect(readiness.hasErrorForm)
        #expect(liveness.status == 200)
        #expect(retried.map(\.status) == [200, 200, 200])
        #expect(retried.map { $0["idempotent-replayed"] } == ["true", nil, nil])
        #expect(
            try await tenant.entries().map { $0["outcome"] } == ["SUCCEEDED", "REPLAYED", "SUCCEEDED", "SUCCEEDED"])
    }
}

@Suite(
    "A pool that is exhausted",
    .stage(["CUSTOMERD_POOL_SIZE": "1", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "2", "CUSTOMERD_RATE_LIMIT": "10000"]))
struct PoolExhaustionTests {
    @Test("requests get a 503 within their time, nothing is half done, and retries succeed")
    func exhausted() async throws {
        let stage = Stage.current
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 6)
        let keys = customers.map { _ in newID() }
        let lock = try await stage.database.begin("SELECT FROM customers WHERE app_id = '\(tenant.app)' FOR UPDATE")

        let answers = try await simultaneously(6) { index in
            let start = ContinuousClock.now
            let answer = try await tenant.delete(customers[index], idempotencyKey: keys[index])
            return (answer: answer, elapsed: ContinuousClock.now - start)
        }
        let left = try await stage.database.value(
            "SELECT count(*) FROM customers WHERE app_id = $1", [.text(tenant.app)])
        try await lock.rollBack()
        var retried: [Int] = []
        for (customer, key) in zip(customers, keys) {
            try await eventually("the retry was answered") {
                let answer = try await tenant.delete(customer, idempotencyKey: key)
                if answer.status != 409 { retried.append(answer.status) }
                return answer.status != 409
            }
        }

        #expect(answers.map(\.answer.status) == Array(repeating: 503, count: 6))
        #expect(answers.allSatisfy { $0.answer["retry-after"] != nil && $0.answer.hasErrorForm })
        #expect(answers.allSatisfy { $0.elapsed < .hang })
        #expect(left == "6")
        #expect(retried == Array(repeating: 200, count: 6))
        let succeeded = try await tenant.entries().filter { $0["outcome"] == "SUCCEEDED" }
        #expect(Set(succeeded.map { $0["customer_id"] }) == Set(customers))
        #expect(succeeded.count == 6)
    }
}
