import LibPQ
import TestSupport
import Testing

/// After a 503, a client doesn't wait for the end of a lease that is no longer needed.
@Suite("An attempt that its service gave up", .serialized, .stages)
struct GivenUpTests {
    @Test("since its entry couldn't be written in time is free before its lease is over")
    func unrecorded() async throws {
        let scene = try await FailpointScene.open(timeout: 3)
        let customer = try await scene.tenant.insert()
        try await scene.tenant.insertDependent("invoices", of: customer.id)
        let key = newID()
        let lock = try await Obstacle.append.raise(before: customer.id, of: scene.tenant)

        let first = try await scene.tenant.delete(customer.id, idempotencyKey: key)
        let lease = try await scene.database.prolongLease(of: key)
        try await lock.rollBack()
        let final = try await scene.insist(customer.id, idempotencyKey: key)

        #expect(first.status == 503)
        #expect(final.status == 400)
        #expect(try await scene.database.wasAsked(final, before: lease))
        #expect(try await scene.outcomes(customer.id).filter { $0 == "REFUSED" }.count == 1)
    }

    @Test("since the answer to its admission was lost is free before its lease is over")
    func unanswered() async throws {
        let scene = try await FailpointScene.open(timeout: 3)
        let customer = try await scene.tenant.insert()
        let key = newID()
        try scene.failpoints.arm("before admit")

        let question = Question(customer.id, of: scene.tenant, idempotencyKey: key)
        try await scene.failpoints.reach("before admit")
        scene.gate.holdReplies()
        scene.failpoints.resume("before admit")
        let first = await question.answer
        let lease = try await scene.database.prolongLease(of: key)
        scene.cut()
        let final = try await scene.insist(customer.id, idempotencyKey: key)

        #expect(first?.status == 503)
        #expect(final.status == 200)
        #expect(try await scene.database.wasAsked(final, before: lease))
        #expect(try await scene.outcomes(customer.id).filter { $0 == "SUCCEEDED" }.count == 1)
    }
}

extension TestDatabase {
    /// When the lease of the attempt with this key is over.
    func lease(of idempotencyKey: String) async throws -> String? {
        try await value(
            "SELECT lease_expires_at FROM service.attempts WHERE idempotency_key = $1", [.text(idempotencyKey)])
    }

    /// Lets the lease of the attempt with this key last for an hour, longer than any test on a busy machine.
    ///
    /// - Returns: when it is over.
    func prolongLease(of idempotencyKey: String) async throws -> String? {
        try await value(
            """
            UPDATE service.attempts
            SET lease_expires_at = clock_timestamp() + interval '1 hour'
            WHERE idempotency_key = $1
            RETURNING lease_expires_at
            """, [.text(idempotencyKey)])
    }

    /// Lets the lease of the attempt with this key be over now.
    func endLease(of idempotencyKey: String) async throws {
        try await rows(
            "UPDATE service.attempts SET lease_expires_at = clock_timestamp() WHERE idempotency_key = $1",
            [.text(idempotencyKey)])
    }

    /// Whether the request with this answer arrived before a time.
    func wasAsked(_ answer: HTTPAnswer, before time: String?) async throws -> Bool {
        try await value(
            "SELECT occurred_at < $2::timestamptz FROM audit.entries WHERE request_id = $1",
            [.text(answer["x-request-id"]), .text(time)]) == "t"
    }
}
