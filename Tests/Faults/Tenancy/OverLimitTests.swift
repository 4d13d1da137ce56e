import LibPQ
import TestSupport
import Testing

/// What a key sends on and on over its limit costs the database little, and the trail knows how much it was.
@Suite("Requests over the limit", .serialized, .stages)
struct OverLimitTests {
    private static let limit = 5

    private func open(window seconds: Int) async throws -> Stage {
        try await Stage.open([
            "CUSTOMERD_RATE_LIMIT": String(Self.limit), "CUSTOMERD_RATE_WINDOW_SECONDS": String(seconds),
        ])
    }

    /// Sends until a flood is folded.
    ///
    /// - Returns: the answers.
    private func flood(_ tenant: Tenant, _ count: Int = 160) async throws -> [HTTPAnswer] {
        try await simultaneously(8) { _ in
            var answers: [HTTPAnswer] = []
            for _ in 0..<(count / 8) { answers.append(try await tenant.delete(newID())) }
            return answers
        }.flatMap { $0 }
    }

    /// How many attempts the trail knows of, once the flood's window has ended.
    private func recorded(_ tenant: Tenant) async throws -> String? {
        try await tenant.database.rows(
            "UPDATE service.floods SET closes_at = now() - interval '1 minute' WHERE closes_at > now()")
        return try await tenant.database.value(
            """
            SELECT sum(coalesce((request ->> 'folded')::int, 1)) FROM audit.entries
            WHERE app_id = $1 AND action = 'customer.delete'
            """, [.text(tenant.app)])
    }

    @Test("are answered without the database once they are folded, as the database answers; others never")
    func remembered() async throws {
        let stage = try await open(window: 600)
        let tenant = try await stage.tenant()
        let other = tenant.with(try await stage.database.createKey(app: tenant.app))
        var wrong = tenant.key
        wrong.secret = "cs_wrong"
        let impostor = tenant.with(wrong)
        let asked = try #require(try await flood(tenant).last)
        _ = try await other.read(newID())

        // A moment may be over before the database could be locked, on a busy machine.
        var remembered: HTTPAnswer?
        try await eventually("it was answered while the windows couldn't be read") {
            _ = try await tenant.delete(newID())
            let lock = try await stage.database.begin("LOCK TABLE service.rate_windows IN ACCESS EXCLUSIVE MODE")
            remembered = try? await tenant.deletion(of: newID()).send(
                to: stage.service.port, within: .milliseconds(500))
            try await lock.rollBack()
            return remembered?.status == 429
        }
        let answer = try #require(remembered)
        let later = try await tenant.delete(newID())

        #expect(answer.status == 429)
        #expect(answer.body == asked.body)
        for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "content-type"] {
            #expect(answer[name] == asked[name] && answer[name] != nil, "\(name)")
        }
        let waits = [asked, answer, later].compactMap { $0["retry-after"].flatMap { Int($0) } }
        #expect(waits == waits.sorted(by: >) && waits.count == 3, "\(waits)")
        #expect(try await impostor.delete(newID()).status == 401)
        #expect(try await other.delete(newID()).status == 404)
        #expect(try await tenant.read(newID()).status == 429)
    }

    @Test("are all counted, also by an instance that stops in between")
    func counted() async throws {
        let stage = try await open(window: 600)
        let tenant = try await stage.tenant()
        let colleague = try await stage.secondService()

        let answers = try await flood(tenant, 800) + flood(tenant.through(colleague), 800)
        colleague.terminate()
        #expect(await colleague.exitStatus(within: .seconds(60)) == 0)

        #expect(answers.filter { $0.status == 404 }.count == Self.limit)
        #expect(answers.filter { $0.status == 429 }.count == 1600 - Self.limit)
        try await eventually("all of them were recorded", within: .seconds(60)) {
            try await recorded(tenant) == "1600"
        }
        let single = try await tenant.entries().filter {
            $0["outcome"] == "RATE_LIMITED" && $0.request("folded") == nil
        }
        #expect(single.count == 100)
        let folded = try await tenant.entries().filter { $0.request("folded") != nil }
        #expect(folded.allSatisfy { $0["actor_client_key"] == tenant.key.clientKey && $0["status_code"] == "429" })
    }

    @Test("are let in as soon as the next window opens")
    func reopened() async throws {
        let stage = try await open(window: 4)
        let tenant = try await stage.tenant()
        for _ in 1...3 {
            #expect(try await flood(tenant).contains { $0.status == 429 })
            // Until the very end of the window, by the clock that counts.
            try await tenant.database.rows(
                """
                SELECT pg_sleep(extract(epoch FROM opened_at + interval '4 s' - clock_timestamp())::float)
                FROM service.rate_windows WHERE app_id = $1
                """, [.text(tenant.app)])

            #expect(try await tenant.delete(newID()).status == 404)
        }
    }
}
