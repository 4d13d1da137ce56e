import TestSupport
import Testing

/// A backend that sits inside COMMIT, invisible to all others, while its client is gone.
@Suite("A backend inside COMMIT", .serialized, .stages)
struct CommitTests {
    @Test("that commits in the end: no client was told otherwise, and the retry gets its answer")
    func commits() async throws {
        let scene = try await FailpointScene.open(timeout: 25)
        let customer = try await scene.tenant.insert()
        let key = newID()
        let lock = try await Obstacle.commit.raise(before: customer.id, of: scene.tenant)

        let question = Question(customer.id, of: scene.tenant, idempotencyKey: key)
        try await scene.database.waitUntilBlocked()
        let isThere = try await scene.tenant.hasCustomer(customer.id)
        scene.cut()
        let first = await question.answer
        let second = try await scene.tenant.delete(customer.id, idempotencyKey: key)
        try await lock.rollBack()
        let final = try await scene.insist(customer.id, idempotencyKey: key)

        #expect(isThere, "a plain look would have said that nothing was deleted")
        #expect(first?.status == 503)
        #expect(second.status == 409)
        #expect(final.status == 200)
        #expect(final["idempotent-replayed"] == "true")
        #expect(final.body == customer.record(app: scene.tenant.app))
        #expect(try await !scene.tenant.hasCustomer(customer.id))
        #expect(try await scene.outcomes(customer.id) == ["SUCCEEDED", "REPLAYED"])
    }

    @Test("that dies in the end: the retry does it, and doesn't wait for the lease")
    func dies() async throws {
        let scene = try await FailpointScene.open(timeout: 25)
        let customer = try await scene.tenant.insert()
        let key = newID()
        let lock = try await Obstacle.commit.raise(before: customer.id, of: scene.tenant)

        let question = Question(customer.id, of: scene.tenant, idempotencyKey: key)
        try await scene.database.waitUntilBlocked()
        scene.cut()
        let first = await question.answer
        let lease = try await scene.database.lease(of: key)
        _ = try await scene.database.value(
            """
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_service' AND wait_event_type = 'Lock'
            """)
        try await lock.rollBack()
        let final = try await scene.insist(customer.id, idempotencyKey: key)

        #expect(first?.status == 503)
        #expect(final.status == 200)
        #expect(final["idempotent-replayed"] == nil)
        #expect(try await scene.database.wasAsked(final, before: lease))
        try await eventually("the interrupted attempt had its entry") {
            try await scene.outcomes(customer.id).contains("INTERRUPTED")
        }
        #expect(try await scene.outcomes(customer.id).sorted() == ["INTERRUPTED", "SUCCEEDED"])
    }

    @Test("of an append: it is appended again beside it, and stands in the trail once")
    func appendedTwice() async throws {
        let scene = try await FailpointScene.open(timeout: 20)
        let customer = try await scene.tenant.insert()
        let lock = try await Obstacle.entryCommit.raise(before: customer.id, of: scene.tenant)

        let question = Question(customer.id, of: scene.tenant, idempotencyKey: newID())
        try await scene.database.waitUntilBlocked()
        scene.cut()
        // The second appender waits for the attempt, which the first one holds.
        try await scene.database.waitUntilBlocked(2)
        try await lock.rollBack()
        let answer = await question.answer

        #expect(answer?.status == 200)
        #expect(answer?.body == customer.record(app: scene.tenant.app))
        #expect(try await scene.outcomes(customer.id) == ["SUCCEEDED"])
    }
}
