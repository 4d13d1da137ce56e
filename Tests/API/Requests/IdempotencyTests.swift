import LibPQ
import TestSupport
import Testing

/// Section 2: one key, one effect, one answer.
@Suite("An idempotency key", .stage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct IdempotencyTests {
    let stage = Stage.current

    @Test("a deletion is replayed to the byte, with an entry for each replay")
    func replaysDeletion() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let (first, second) = try await twice(tenant, customer.id)

        #expect(first.status == 200)
        #expect(second.status == 200)
        #expect(second.body == first.body)
        #expect(try await tenant.entries().map { $0["outcome"] } == ["SUCCEEDED", "REPLAYED"])
    }

    @Test("a refusal is replayed, though the invoice is gone")
    func replaysRefusal() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: customer.id)
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.run("DELETE FROM invoices WHERE customer_id = '\(customer.id)'")
        let second = try await tenant.delete(customer.id, idempotencyKey: key)
        let third = try await tenant.delete(customer.id)

        #expect([first, second, third].map(\.status) == [400, 400, 200])
        #expect(second.body == first.body)
        #expect(second["link"] == first["link"])
        #expect([first, second, third].map { $0["idempotent-replayed"] } == [nil, "true", nil])
        #expect(try await tenant.entries().map { $0["outcome"] } == ["REFUSED", "REPLAYED", "SUCCEEDED"])
    }

    @Test("a 404 is replayed, though there is such a customer by now")
    func replaysNotFound() async throws {
        let tenant = try await stage.tenant()
        let customer = CustomerFixture()
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        try await tenant.insert(customer)
        let second = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect([first, second].map(\.status) == [404, 404])
        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().map { $0["outcome"] } == ["NOT_FOUND", "REPLAYED"])
    }

    @Test("the entry of a replay names the key, the customer and the answer's status")
    func replayEntry() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        _ = try await tenant.delete(customer.id, idempotencyKey: key)

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)

        let entries = try await tenant.entries()
        try #require(entries.count == 2)
        let expected = try await tenant.expectation(
            "REPLAYED", 200, customer: customer.id, idempotencyKey: key, answer: answer)
        #expect(entries[1].mismatches(with: expected) == [])
    }

    @Test("the same key for another customer is a 422, and the first answer stays")
    func otherRequest() async throws {
        let tenant = try await stage.tenant()
        let (customer, other) = (try await tenant.insert(), try await tenant.insert())
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        let second = try await tenant.delete(other.id, idempotencyKey: key)
        let third = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect([first, second, third].map(\.status) == [200, 422, 200])
        #expect(
            second.body
                == HTTPAnswer.error(
                    422, "idempotency-key was used with a different request", "Unprocessable Entity"))
        #expect(second["idempotent-replayed"] == nil)
        #expect(third.body == first.body)
        #expect(try await tenant.hasCustomer(other.id))
        let entries = try await tenant.entries()
        try #require(entries.map { $0["outcome"] } == ["SUCCEEDED", "CONFLICT", "REPLAYED"])
        let expected = try await tenant.expectation(
            "CONFLICT", 422, customer: other.id, idempotencyKey: key, answer: second)
        #expect(entries[1].mismatches(with: expected) == [])
    }

    @Test("two apps may use the same key")
    func otherApp() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        let (customer, theirs) = (try await tenant.insert(), try await other.insert())
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        let second = try await other.delete(theirs.id, idempotencyKey: key)

        #expect(first.body == customer.record(app: tenant.app))
        #expect(second.body == theirs.record(app: other.app))
        #expect(second["idempotent-replayed"] == nil)
    }

    @Test("two API keys of one app share the idempotency key, but not the permission")
    func otherKeyOfTheApp() async throws {
        let tenant = try await stage.tenant()
        let colleague = tenant.with(try await stage.database.createKey(app: tenant.app))
        let viewer = tenant.with(try await stage.database.createKey(app: tenant.app, role: "viewer"))
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        let second = try await colleague.delete(customer.id, idempotencyKey: key)
        let third = try await viewer.delete(customer.id, idempotencyKey: key)

        #expect([first, second, third].map(\.status) == [200, 200, 403])
        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
        #expect(!third.body.contains(customer.id))
    }

    @Test("the key as an RFC 8941 string, in upper case, or with blanks around it is the same key")
    func otherSpellings() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let spellings = ["\"\(key)\"", key, key.uppercased(), "\"\(key.uppercased())\"", "  \(key)\t"]

        var answers: [HTTPAnswer] = []
        for spelling in spellings {
            answers.append(try await tenant.delete(customer.id, idempotencyKey: spelling))
        }

        #expect(answers.map(\.status) == [200, 200, 200, 200, 200])
        #expect(Set(answers.map(\.body)).count == 1)
        #expect(answers.map { $0["idempotent-replayed"] } == [nil, "true", "true", "true", "true"])
        #expect(Set(try await tenant.entries().map { $0["idempotency_key"] }) == [key])
    }

    @Test("an id in another case is the same request")
    func otherCaseOfID() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        let second = try await tenant.delete(customer.id.uppercased(), idempotencyKey: key)

        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
    }

    @Test("the replay is of the answer, not of what belongs to the request: id, budget")
    func replayIsOfTheAnswer() async throws {
        let tenant = try await stage.tenant()
        let key = newID()
        let id = newID()

        let first = try await tenant.delete(id, idempotencyKey: key, headers: [("x-request-id", "first")])
        let second = try await tenant.delete(id, idempotencyKey: key, headers: [("x-request-id", "second")])

        #expect([first, second].map { $0["x-request-id"] } == ["first", "second"])
        #expect([first, second].map { $0["x-ratelimit-remaining"] } == ["99", "98"])
    }

    @Test("401, 403 and 400 validation errors aren't kept")
    func notKept() async throws {
        let tenant = try await stage.tenant()
        let viewer = tenant.with(try await stage.database.createKey(app: tenant.app, role: "viewer"))
        var stranger = tenant.key
        stranger.secret = "cs_wrong-\(newID())"
        let customer = try await tenant.insert()
        let key = newID()

        let answers = [
            try await tenant.with(stranger).delete(customer.id, idempotencyKey: key),
            try await viewer.delete(customer.id, idempotencyKey: key),
            try await tenant.delete("no-uuid", idempotencyKey: key),
            try await tenant.delete(
                customer.id, idempotencyKey: key, headers: [("x-actor-id", String(repeating: "a", count: 201))]),
            try await tenant.delete(customer.id, idempotencyKey: key),
        ]

        #expect(answers.map(\.status) == [401, 403, 400, 400, 200])
        #expect(answers.map { $0["idempotent-replayed"] } == [nil, nil, nil, nil, nil])
    }

    @Test("while the first request runs, a second one is told to come back")
    func inProgress() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let lock = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")

        async let first = tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.waitUntilBlocked()
        let second = try await tenant.delete(customer.id, idempotencyKey: key)
        let other = try await tenant.delete(newID(), idempotencyKey: key)
        try await lock.rollBack()

        #expect(try await first.status == 200)
        #expect(second.status == 409)
        #expect(
            second.body == HTTPAnswer.error(409, "A request with this idempotency-key is in progress", "Conflict"))
        let wait = second["retry-after"].flatMap { Int($0) }
        #expect(wait.map { (1...30).contains($0) } == true)
        #expect(other.status == 422, "another request isn't asked to wait for nothing")
        #expect(
            try await tenant.entries().map { $0["outcome"] }.sorted { $0 ?? "" < $1 ?? "" } == [
                "CONFLICT", "CONFLICT", "SUCCEEDED",
            ])
        let conflict = try await stage.database.entries(requestID: second["x-request-id"] ?? "")
        try #require(conflict.count == 1)
        let expected = try await tenant.expectation(
            "CONFLICT", 409, customer: customer.id, idempotencyKey: key, answer: second)
        #expect(conflict[0].mismatches(with: expected) == [])
    }

    @Test("a request whose client hangs up is carried out, and the retry gets its answer")
    func hangUp() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let lock = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")

        do {
            let connection = try RawConnection(port: stage.service.port)
            await connection.send(RawRequest(tenant.deletion(of: customer.id, idempotencyKey: key)).text)
            try await stage.database.waitUntilBlocked()
        }
        try await lock.rollBack()
        try await eventually("it was carried out") { try await !tenant.entries().isEmpty }
        let retried = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(retried.status == 200)
        #expect(retried.body == customer.record(app: tenant.app))
        let succeeded = try await tenant.entries().filter { $0["outcome"] == "SUCCEEDED" }
        #expect(succeeded.count == 1)
    }

    private func twice(_ tenant: Tenant, _ customer: String) async throws -> (HTTPAnswer, HTTPAnswer) {
        let key = newID()
        let first = try await tenant.delete(customer, idempotencyKey: key)
        let second = try await tenant.delete(customer, idempotencyKey: key)
        #expect(first["idempotent-replayed"] == nil)
        #expect(second["idempotent-replayed"] == "true")
        return (first, second)
    }
}

/// How long an answer is kept.
@Suite(
    "The expiry of an answer",
    .stage([
        "CUSTOMERD_IDEMPOTENCY_TTL_SECONDS": "2", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25",
        "CUSTOMERD_RATE_LIMIT": "100000",
    ]))
struct IdempotencyExpiryTests {
    let stage = Stage.current

    @Test("a key is free again when its time is over")
    func expires() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await tenant.delete(customer.id, idempotencyKey: key)
        var second = first
        try await eventually("the answer was forgotten", within: .seconds(10)) {
            second = try await tenant.delete(customer.id, idempotencyKey: key)
            return second["idempotent-replayed"] == nil
        }

        #expect(second.status == 404, "it is a request of its own")
        let outcomes = try await tenant.entries().map { $0["outcome"] }
        #expect(outcomes.first == "SUCCEEDED")
        #expect(outcomes.last == "NOT_FOUND")
    }

    @Test(
        "the time counts from the answer, not from the request",
        .singleNode("Citus takes no STABLE function of a column in an UPDATE"))
    func countsFromTheAnswer() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let lock = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")

        async let first = tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.waitUntilBlocked()
        let released = try await stage.database.value("SELECT clock_timestamp()")
        try await lock.rollBack()
        let answer = try await first

        #expect(answer.status == 200)
        let expiresLate = try await stage.database.value(
            """
            SELECT expires_at >= $2::timestamptz + interval '2 s'
            FROM service.attempts
            WHERE idempotency_key = $1
            """, [.text(key), .text(released)])
        #expect(expiresLate == "t")
    }
}
