import TestSupport
import Testing

@Suite("A request that overslept its lease")
struct FenceTests {
    @Test("can't commit any more, whoever took it over and whatever came of that")
    func overslept() async throws {
        let scene = try await Scene.open(timeout: 20)
        let other = try await RunningService.start(on: scene.database)
        let customer = try await scene.tenant.insert()
        try await scene.tenant.insertDependent("invoices", of: customer.id)
        let key = newID()
        try scene.failpoints.arm("before hold")

        let asleep = Question(customer.id, of: scene.tenant, idempotencyKey: key)
        try await scene.failpoints.reach("before hold")
        try await scene.database.run(
            "UPDATE service.attempts SET lease_expires_at = clock_timestamp() WHERE idempotency_key = '\(key)'")
        // 409 for a moment, when recovery is just ending the lease.
        let taken = try await scene.insist(customer.id, idempotencyKey: key, through: other)
        // Nothing stands in the way of the one who overslept but the fence.
        try await scene.database.run("DELETE FROM invoices WHERE customer_id = '\(customer.id)'")
        scene.failpoints.resume("before hold")
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
        #expect(try await scene.verify())
        other.terminate()
        #expect(await other.exitStatus(within: .seconds(20)) == 0)
        #expect(await scene.close() == 0)
    }
}
