import TestSupport
import Testing

@Suite("A request that overslept its lease", .stages)
struct FenceTests {
    @Test("can't commit any more, whatever took it over and whatever the result")
    func overslept() async throws {
        let scene = try await FailpointScene.open(timeout: 20)
        let other = try await scene.stage.secondService()
        let customer = try await scene.tenant.insert()
        try await scene.tenant.insertDependent("invoices", of: customer.id)
        let key = newID()
        try scene.failpoints.arm("before enter")

        let asleep = Question(customer.id, of: scene.tenant, idempotencyKey: key)
        try await scene.failpoints.reach("before enter")
        try await scene.database.endLease(of: key)
        // 409 for a moment, when recovery is just ending the lease.
        let taken = try await scene.insist(customer.id, idempotencyKey: key, through: other)
        // Nothing stands in the way of the one who overslept but the fence.
        try await scene.database.run("DELETE FROM invoices WHERE customer_id = '\(customer.id)'")
        scene.failpoints.resume("before enter")
        let late = await asleep.answer
        let replayed = try await scene.tenant.delete(customer.id, idempotencyKey: key)

        #expect(taken.status == 400)
        #expect(late?.status == 503)
        #expect(scene.service.log.contains("the lease was lost"))
        #expect(replayed.status == 400)
        #expect(replayed["idempotent-replayed"] == "true")
        #expect(try await scene.tenant.hasCustomer(customer.id))
        try await eventually("the interrupted attempt had its entry") {
            try await scene.outcomes(customer.id).contains("INTERRUPTED")
        }
        #expect(try await scene.outcomes(customer.id).sorted() == ["INTERRUPTED", "REFUSED", "REPLAYED"])
    }

    @Test("vouches for no deletion whose receipt was lost, as it is when a standby that lagged is promoted")
    func lostReceipt() async throws {
        let scene = try await FailpointScene.open(timeout: 20)
        let customer = try await scene.tenant.insert()
        let key = newID()
        try scene.failpoints.arm("worked")

        let question = Question(customer.id, of: scene.tenant, idempotencyKey: key)
        try await scene.failpoints.reach("worked")
        try await scene.database.run(
            """
            UPDATE service.attempts
            SET outcome = NULL, status_code = NULL, body = NULL, before_image = NULL, finished_at = NULL
            WHERE idempotency_key = '\(key)'
            """)
        scene.failpoints.resume("worked")
        let answer = await question.answer
        try await scene.database.endLease(of: key)
        let retried = try await scene.insist(customer.id, idempotencyKey: key, through: scene.service)

        #expect(answer?.status == 503)
        #expect(retried.status == 404, "it is gone here all the same")
        try await eventually("the attempt had its entry") {
            try await scene.outcomes(customer.id).sorted() == ["INTERRUPTED", "NOT_FOUND"]
        }
    }
}
