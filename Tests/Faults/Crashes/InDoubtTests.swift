import TestSupport
import Testing

/// The moments at which a request can be cut off, one by one: a gate between service and database holds what passes.
@Suite("At whatever moment it is cut off", .serialized, .stages)
struct InDoubtTests {
    /// Statements of the protocol, by which the gate recognizes the moment.
    private static let admission = "service.admit("
    private static let work = "service.finish("
    private static let entry = "service.append("

    /// A service that reaches its database through a gate, and a customer.
    private struct CutOff {
        let stage: Stage
        let tenant: Tenant
        let customer: CustomerFixture

        var gate: TCPGate { stage.gate }
        var service: RunningService { stage.service }

        func cut() {
            stage.cut()
        }

        func other() async throws -> RunningService {
            try await stage.secondService(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "10"])
        }

        /// The answer, or that of a retry with the same key after 409 and 503.
        func insist(on answer: HTTPAnswer, idempotencyKey: String) async throws -> HTTPAnswer {
            guard [409, 503].contains(answer.status) else { return answer }
            return try await tenant.insist(customer.id, idempotencyKey: idempotencyKey)
        }

        func isGone() async throws -> Bool {
            try await !tenant.hasCustomer(customer.id)
        }
    }

    private func scene(timeout: Int = 10) async throws -> CutOff {
        let settings = [
            "CUSTOMERD_PREPARE_STATEMENTS": "0", "CUSTOMERD_POOL_SIZE": "2", "CUSTOMERD_RATE_LIMIT": "1000000",
            "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": String(timeout),
        ]
        let stage = try await Stage.open(settings, through: .gate)
        let tenant = try await stage.tenant()
        return CutOff(stage: stage, tenant: tenant, customer: try await tenant.insert())
    }

    private func expectDeletedOnce(_ scene: CutOff, _ answer: HTTPAnswer) async throws {
        #expect(answer.status == 200, "\(scene.service.log.suffix(2000))")
        #expect(answer.body == scene.customer.record(app: scene.tenant.app))
        #expect(try await scene.isGone())
        let entries = try await scene.tenant.entries(about: scene.customer.id)
        #expect(entries.filter { $0["outcome"] == "SUCCEEDED" }.count == 1)
        #expect(try await Trail.verify(scene.tenant.database, app: scene.tenant.app).isClean)
    }

    @Test(
        "before it was admitted, after it was, or before its work or its entry reached the server: it is done once",
        arguments: [
            (admission, true), (admission, false), (work, true), (entry, true), (entry, false),
        ])
    func cutAt(moment: String, isBefore: Bool) async throws {
        let scene = try await scene()
        let sighting =
            isBefore
            ? scene.gate.holdRequests(whenRequestContains: moment) : scene.gate.holdReplies(whenRequestContains: moment)

        let key = newID()
        async let first = scene.tenant.delete(scene.customer.id, idempotencyKey: key)
        await sighting.wait()
        scene.cut()
        // On a busy machine the doubt may not be settled in time; then it says so, and a retry does it.
        let answer = try await scene.insist(on: try await first, idempotencyKey: key)

        try await expectDeletedOnce(scene, answer)
    }

    @Test("after it was committed, the answer on its way: the doubt is settled, and the answer is true")
    func cutAfterCommit() async throws {
        let scene = try await scene()
        let sighting = scene.gate.holdReplies(whenRequestContains: Self.work)

        async let answer = scene.tenant.delete(scene.customer.id)
        await sighting.wait()
        try await eventually("it was committed") { try await scene.isGone() }
        scene.cut()

        try await expectDeletedOnce(scene, try await answer)
        #expect(try await scene.tenant.entries().count == 1)
    }

    @Test("while the database is silent: a 503 in time, and the retry gets the true answer")
    func silence() async throws {
        let scene = try await scene(timeout: 2)
        let key = newID()
        let sighting = scene.gate.holdReplies(whenRequestContains: Self.work)

        let start = ContinuousClock.now
        async let answer = scene.tenant.delete(scene.customer.id, idempotencyKey: key)
        await sighting.wait()
        let first = try await answer
        let elapsed = ContinuousClock.now - start
        scene.cut()
        let retried = try await scene.insist(on: first, idempotencyKey: key)

        #expect(first.status == 503)
        #expect(first["retry-after"] != nil)
        #expect(elapsed < .hang)
        try await expectDeletedOnce(scene, retried)
        #expect(retried["idempotent-replayed"] == "true")
    }

    @Test("when the service dies between the deletion and its entry: recovery writes the entry, whole")
    func killedBeforeEntry() async throws {
        let scene = try await scene(timeout: 1)
        let key = newID()
        let sighting = scene.gate.holdRequests(whenRequestContains: Self.entry)

        async let lost = try? await scene.tenant.delete(
            scene.customer.id, idempotencyKey: key,
            headers: [("x-request-id", "lost-\(key)"), ("x-audit-reason", "why not")])
        await sighting.wait()
        await scene.service.kill()
        #expect(await lost == nil)
        #expect(try await scene.isGone())
        #expect(try await scene.tenant.entries().isEmpty)
        scene.cut()
        let other = try await scene.other()
        try await eventually("recovery wrote the entry", within: .seconds(30)) {
            try await !scene.tenant.entries().isEmpty
        }

        let entries = try await scene.tenant.entries()
        try #require(entries.count == 1)
        let answer = HTTPAnswer(status: 200, headers: [.init(name: "x-request-id", value: "lost-\(key)")])
        var expected = try await scene.tenant.expectation(
            "SUCCEEDED", 200, customer: scene.customer.id, idempotencyKey: key, answer: answer)
        expected["reason"] = "why not"
        #expect(entries[0].mismatches(with: expected) == [])
        let record = scene.customer.record(app: scene.tenant.app)
        #expect(try await scene.tenant.database.image(of: entries[0], is: record))
        let replay = try await scene.tenant.through(other).delete(scene.customer.id, idempotencyKey: key)
        #expect(replay.body == record)
    }

    @Test("when the service dies between the deletion and its entry: a retry doesn't wait, and writes both entries")
    func retriedBeforeRecovery() async throws {
        let scene = try await scene(timeout: 20)
        let key = newID()
        let sighting = scene.gate.holdRequests(whenRequestContains: Self.entry)

        async let lost = try? await scene.tenant.delete(scene.customer.id, idempotencyKey: key)
        await sighting.wait()
        await scene.service.kill()
        #expect(await lost == nil)
        scene.cut()
        let other = try await scene.other()
        let retried = try await scene.tenant.through(other).delete(scene.customer.id, idempotencyKey: key)

        try await expectDeletedOnce(scene, retried)
        #expect(try await scene.tenant.entries().map { $0["outcome"] } == ["SUCCEEDED", "REPLAYED"])
    }
}
