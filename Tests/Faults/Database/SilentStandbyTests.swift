import LibPQ
import TestSupport
import Testing

/// A synchronous standby that doesn't answer holds a backend inside COMMIT: the change is invisible, but it may come.
@Suite("A COMMIT that a silent standby holds", .serialized, .stages)
struct SilentStandbyTests {
    @Test("is no answer and no guess: 503 until the standby speaks, then the truth, once")
    func held() async throws {
        let pair = try await ReplicatedPair.start(isSynchronous: true)
        let scene = try await OutageScene.open(in: .pair(pair))
        let customer = try await scene.tenant.insert()
        let key = newID()

        let silence = try await pair.silenceStandby()
        let first = try await timed { try await scene.tenant.delete(customer.id, idempotencyKey: key) }
        let held = try await pair.heldCommits()
        // Even beyond its lease, the attempt can't be taken over while a session holds it.
        var meanwhile: [HTTPAnswer] = []
        let lease = ContinuousClock.now + .seconds(8)
        while ContinuousClock.now < lease {
            meanwhile.append(try await scene.tenant.delete(customer.id, idempotencyKey: key))
        }
        let isVisible = try await scene.tenant.hasCustomer(customer.id)
        let recorded = try await scene.tenant.entries().count
        silence.end()
        let last = try await scene.insist(on: customer.id, idempotencyKey: key)

        scene.expectUnavailable(first.value, after: first.elapsed)
        #expect(held >= 1, "the deletion sat inside COMMIT")
        #expect(Set(meanwhile.map(\.status)) == [503])
        #expect(isVisible, "a plain look would have said that nothing was deleted")
        #expect(recorded == 0)
        #expect(last.status == 200)
        #expect(last.body == customer.record(app: scene.tenant.app))
        #expect(try await !scene.tenant.hasCustomer(customer.id))
        let outcomes = try await scene.tenant.entries(about: customer.id).map { $0["outcome"] }
        #expect(outcomes.filter { $0 == "SUCCEEDED" }.count == 1)
        #expect(!outcomes.contains("INTERRUPTED"), "it was never given up")
    }

    @Test("and a primary that restarts meanwhile: what became visible isn't told before the standby has it")
    func restarted() async throws {
        let pair = try await ReplicatedPair.start(isSynchronous: true)
        let scene = try await OutageScene.open(in: .pair(pair))
        let customer = try await scene.tenant.insert()
        let key = newID()

        try await aside { try pair.standby.stop() }
        let first = try await timed { try await scene.tenant.delete(customer.id, idempotencyKey: key) }
        try await aside { try pair.primary.stop(mode: "immediate") }
        try await aside { try pair.primary.start() }
        try await eventually("the service was back", within: .seconds(40)) { try await scene.service.isReady }
        let isGone = try await !scene.tenant.hasCustomer(customer.id)
        var meanwhile: [HTTPAnswer] = []
        for _ in 1...2 { meanwhile.append(try await scene.tenant.delete(customer.id, idempotencyKey: key)) }
        try await aside { try pair.standby.start() }
        let last = try await scene.insist(on: customer.id, idempotencyKey: key)

        scene.expectUnavailable(first.value, after: first.elapsed)
        #expect(isGone, "crash recovery finished the COMMIT, on the primary alone")
        #expect(Set(meanwhile.map(\.status)) == [503], "a failover now would undo it")
        #expect(last.status == 200)
        #expect(last.body == customer.record(app: scene.tenant.app))
        let outcomes = try await scene.tenant.entries(about: customer.id).map { $0["outcome"] }
        #expect(outcomes.filter { $0 == "SUCCEEDED" }.count == 1)
    }
}
