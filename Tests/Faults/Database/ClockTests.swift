import LibPQ
import TestSupport
import Testing

/// Times that lie in the future, as they do after the database's clock has stepped back.
@Suite("A clock that stepped back", .serialized, .stages)
struct ClockTests {
    @Test("shuts no key out: a rate window that opens in the future is over")
    func rateWindow() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "3"])
        let tenant = try await stage.tenant()
        for _ in 1...4 { _ = try await tenant.delete(newID()) }
        try await stage.database.rows(
            "UPDATE service.rate_windows SET opened_at = now() + interval '1 hour' WHERE app_id = $1",
            [.text(tenant.app)])

        let answer = try await tenant.delete(newID())

        #expect(answer.status == 404)
        #expect(answer["x-ratelimit-remaining"] == "2")
        let reset = answer["x-ratelimit-reset"].flatMap { Double($0) } ?? 0
        let now = try await stage.database.value("SELECT extract(epoch FROM now())").flatMap { Double($0) } ?? 0
        #expect(reset <= now + 61)
    }

    @Test("keeps no idempotency key: a lease of an attempt that began in the future is over")
    func lease() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000"], failpoints: try Failpoints())
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        try stage.failpoints.arm("admitted")
        async let first = tenant.delete(customer.id, idempotencyKey: key)
        try await stage.failpoints.reach("admitted")
        try await stage.database.rows(
            """
            UPDATE service.attempts
            SET admitted_at = admitted_at + interval '1 hour', lease_expires_at = lease_expires_at + interval '1 hour'
            WHERE idempotency_key = $1
            """, [.text(key)])

        let second = try await tenant.delete(customer.id, idempotencyKey: key)
        stage.failpoints.resume("admitted")

        #expect(second.status == 200)
        #expect(try await first.status == 503)
        try await eventually("both are in the trail") {
            try await Set(tenant.outcomes()) == ["SUCCEEDED", "INTERRUPTED"]
        }
    }

    @Test("changes nothing for requests that begin one after the other within a window")
    func concurrency() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "50"])

        for _ in 1...3 {
            let tenant = try await stage.tenant()
            let answers = try await simultaneously(80) { _ in try await tenant.delete(newID()) }
            #expect(answers.count { $0.status == 404 } == 50)
            #expect(answers.compactMap { $0["retry-after"].flatMap { Int($0) } }.allSatisfy { (1...60).contains($0) })
        }
    }
}
