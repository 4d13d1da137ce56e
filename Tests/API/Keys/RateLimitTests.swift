import LibPQ
import TestSupport
import Testing

/// The budget of a key, one for all instances.
@Suite("The rate limit", .stage())
struct RateLimitTests {
    let stage = Stage.current

    @Test("of 120 requests in a window exactly 100 go through")
    func exact() async throws {
        let tenant = try await stage.tenant()

        let answers = try await simultaneously(120) { _ in try await tenant.delete(newID()) }

        try await expectHundredOfHundredTwenty(answers, tenant)
    }

    @Test("of 60 requests to each of two instances exactly 100 go through")
    func exactOverTwoInstances() async throws {
        let tenant = try await stage.tenant()
        let second = try await stage.secondService()

        let answers = try await simultaneously(120) { index in
            try await (index.isMultiple(of: 2) ? tenant : tenant.through(second)).delete(newID())
        }
        second.terminate()

        try await expectHundredOfHundredTwenty(answers, tenant)
        #expect(await second.exitStatus(within: .seconds(20)) == 0)
    }

    private func expectHundredOfHundredTwenty(_ answers: [HTTPAnswer], _ tenant: Tenant) async throws {
        let granted = answers.filter { $0.status == 404 }
        let refused = answers.filter { $0.status == 429 }
        #expect(granted.count == 100)
        #expect(refused.count == 20)
        #expect(Set(granted.map { $0["x-ratelimit-remaining"] }) == Set((0...99).map { String($0) }))
        #expect(Set(answers.map { $0["x-ratelimit-reset"] }).count == 1)
        for answer in refused {
            #expect(answer.body == #"{"statusCode":429,"message":"Rate limit exceeded","error":"Too Many Requests"}"#)
            #expect(answer["x-ratelimit-limit"] == "100")
            #expect(answer["x-ratelimit-remaining"] == "0")
            #expect(answer["retry-after"].flatMap { Int($0) }.map { (1...60).contains($0) } == true)
        }
        let entries = try await tenant.entries()
        #expect(entries.filter { $0["outcome"] == "NOT_FOUND" }.count == 100)
        #expect(entries.filter { $0["outcome"] == "RATE_LIMITED" }.count == 20)
        #expect(entries.count == 120)
    }

    @Test("one key doesn't spend another's budget, in the same app neither")
    func separateBudgets() async throws {
        let tenant = try await stage.tenant()
        let colleague = tenant.with(try await stage.database.createKey(app: tenant.app))

        for _ in 1...3 { _ = try await tenant.delete(newID()) }
        let answer = try await colleague.delete(newID())

        #expect(answer["x-ratelimit-remaining"] == "99")
    }
}

@Suite("A rate window", .stage(["CUSTOMERD_RATE_LIMIT": "3", "CUSTOMERD_RATE_WINDOW_SECONDS": "60"]))
struct RateWindowTests {
    let stage = Stage.current

    @Test(
        "a client that waits as long as Retry-After says is accepted again",
        .singleNode("Citus takes no STABLE function of a column in an UPDATE"))
    func nextWindow() async throws {
        let tenant = try await stage.tenant()
        let key = newID()
        let customer = try await tenant.insert()

        let answers = try await simultaneously(6) { _ in try await tenant.delete(newID()) }
        var late = try await tenant.delete(customer.id, idempotencyKey: key)
        try #require(late.status == 429)
        let wait = try #require(late["retry-after"].flatMap { Int($0) })
        // Waiting, as the database sees it.
        try await stage.database.rows(
            "UPDATE service.rate_windows SET opened_at = opened_at - $2::int * interval '1 s' WHERE app_id = $1",
            [.text(tenant.app), .int(wait)])
        late = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answers.filter { $0.status == 429 }.count == 3)
        #expect((1...60).contains(wait))
        #expect(late.status == 200, "the 429 wasn't kept under the key")
        #expect(late["x-ratelimit-remaining"] == "2")
    }

    @Test("the window opens with the key's first request, not with the clock's minute")
    func opensWithFirst() async throws {
        let tenant = try await stage.tenant()
        let now = "SELECT extract(epoch FROM clock_timestamp())"

        let before = try #require(try await stage.database.value(now).flatMap { Double($0) })
        let answer = try await tenant.delete(newID())
        let after = try #require(try await stage.database.value(now).flatMap { Double($0) })

        let reset = try #require(answer["x-ratelimit-reset"].flatMap { Double($0) })
        #expect(reset >= before + 60 && reset <= after + 61, "its end, rounded up to a second")
    }
}

/// Answers that are too many to be recorded one by one.
@Suite(
    "Floods",
    .stage([
        "CUSTOMERD_RATE_LIMIT": "5", "CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1", "CUSTOMERD_RATE_WINDOW_SECONDS": "600",
    ])
)
struct FloodTests {
    let stage = Stage.current

    @Test("30 failed authentications from one address in a minute: 20 entries, and one for the other 10")
    func strangers() async throws {
        let address = "203.0.113.9"
        try await awaitFreshMinute()
        let call = HTTPCall(
            "DELETE", "/api/v0/customers/\(newID())",
            headers: [
                ("x-client-key", "ck_nobody"), ("x-client-secret", "cs_nothing-\(newID())"),
                ("idempotency-key", newID()), ("x-forwarded-for", address),
            ]
        )

        let answers = try await simultaneously(30) { _ in try await call.send(to: stage.service.port) }
        try await eventually("all were counted") {
            try await stage.database.value(
                "SELECT counted FROM service.floods WHERE subject = '\(address)'") == "30"
        }
        let single = try await strangers(from: address)
        try await stage.database.run(
            "UPDATE service.floods SET closes_at = now() - interval '1 hour' WHERE subject = '\(address)'")
        try await eventually("the flood was folded") { try await strangers(from: address).count == 21 }

        #expect(answers.allSatisfy { $0.status == 401 })
        #expect(single.count == 20)
        #expect(single.allSatisfy { $0["outcome"] == "UNAUTHENTICATED" && $0.request("folded") == nil })
        let folded = try await strangers(from: address).filter { $0.request("folded") != nil }
        try #require(folded.count == 1)
        #expect(folded[0]["outcome"] == "UNAUTHENTICATED")
        #expect(folded[0]["action"] == "customer.delete")
        #expect(folded[0]["status_code"] == "401")
        #expect(folded[0].request("folded") == "10")
        #expect(Set(try await strangers(from: address).map { $0["id"] }).count == 21)
    }

    @Test("addresses are counted one by one, an IPv6 address with its /64")
    func addresses() async throws {
        try await awaitFreshMinute()
        let addresses =
            (1...20).map { "2001:db8:1:2::\($0)" } + ["2001:db8:1:2:ffff::1", "2001:db8:1:3::1", "198.51.100.77"]

        for address in addresses {
            let call = HTTPCall("DELETE", "/api/v0/customers/\(newID())", headers: [("x-forwarded-for", address)])
            #expect(try await call.send(to: stage.service.port).status == 401)
        }

        let recorded = try await stage.database.entries(app: nil).compactMap { $0["ip"] }
        #expect(addresses.filter { recorded.contains($0) } == addresses.filter { $0 != "2001:db8:1:2:ffff::1" })
    }

    @Test("beyond 100 in a key's window, 429s are folded into one entry of the key")
    func rateLimited() async throws {
        let tenant = try await stage.tenant()

        let answers = try await simultaneously(135) { _ in try await tenant.delete(newID()) }
        try await eventually("all were counted") {
            try await stage.database.value(
                "SELECT folded FROM service.floods WHERE app_id = $1", [.text(tenant.app)]) == "30"
        }
        let single = try await tenant.entries()
        try await stage.database.run(
            "UPDATE service.floods SET closes_at = now() - interval '1 hour' WHERE app_id = '\(tenant.app)'")
        try await eventually("the flood was folded") { try await tenant.entries().count == 106 }

        #expect(answers.filter { $0.status == 404 }.count == 5)
        #expect(answers.filter { $0.status == 429 }.count == 130)
        #expect(single.filter { $0["outcome"] == "RATE_LIMITED" }.count == 100)
        let folded = try await tenant.entries().filter { $0.request("folded") != nil }
        try #require(folded.count == 1)
        #expect(folded[0]["outcome"] == "RATE_LIMITED")
        #expect(folded[0]["status_code"] == "429")
        #expect(folded[0]["actor_client_key"] == tenant.key.clientKey)
        #expect(folded[0].request("folded") == "30")
        #expect(try await tenant.entries().last?["seq"] == "106")
    }

    private func strangers(from address: String) async throws -> [TrailEntry] {
        try await stage.database.entries(app: nil).filter { $0["ip"] == address }
    }

    /// A flood is counted by the minute: don't begin at the end of one.
    private func awaitFreshMinute() async throws {
        try await eventually("the minute was young", within: .seconds(60)) {
            let second = try await stage.database.value("SELECT floor(extract(second FROM now()))")
            return second.flatMap { Int($0) } ?? 60 < 45
        }
    }
}
