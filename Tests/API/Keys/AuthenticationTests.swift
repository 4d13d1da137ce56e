import LibPQ
import TestSupport
import Testing

/// Which credentials are accepted, and that a refusal doesn't reveal its reason.
@Suite("Authentication", .stage(["CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1", "LOG_LEVEL": "trace"]))
struct AuthenticationTests {
    let stage = Stage.current

    private static let unauthorized = #"{"statusCode":401,"message":"Invalid API credentials","error":"Unauthorized"}"#

    /// What a stranger may send, given a good key.
    static let credentials: [(name: String, headers: @Sendable (Tenant.Key) -> [(name: String, value: String)])] = [
        ("unknown key", { _ in [("x-client-key", "ck_\(newID())"), ("x-client-secret", "cs_\(newID())")] }),
        ("unknown key, a valid secret", { [("x-client-key", "ck_\(newID())"), ("x-client-secret", $0.secret)] }),
        ("wrong secret", { [("x-client-key", $0.clientKey), ("x-client-secret", "cs_\(newID())")] }),
        ("secret in another case", { [("x-client-key", $0.clientKey), ("x-client-secret", $0.secret.uppercased())] }),
        ("half a secret", { [("x-client-key", $0.clientKey), ("x-client-secret", String($0.secret.dropLast()))] }),
        ("secret and more", { [("x-client-key", $0.clientKey), ("x-client-secret", $0.secret + "0")] }),
        ("missing secret", { [("x-client-key", $0.clientKey)] }),
        ("missing key", { [("x-client-secret", $0.secret)] }),
        ("nothing", { _ in [] }),
        ("empty secret", { [("x-client-key", $0.clientKey), ("x-client-secret", "")] }),
        ("empty key", { [("x-client-key", ""), ("x-client-secret", $0.secret)] }),
        ("swapped", { [("x-client-key", $0.secret), ("x-client-secret", $0.clientKey)] }),
        ("key twice", { $0.headers + [("X-Client-Key", $0.clientKey)] }),
        ("secret twice", { $0.headers + [("X-Client-Secret", $0.secret)] }),
        ("key as a list", { [("x-client-key", "\($0.clientKey), \($0.clientKey)"), ("x-client-secret", $0.secret)] }),
        ("a pattern", { [("x-client-key", "%"), ("x-client-secret", $0.secret)] }),
        ("a long key", { [("x-client-key", String(repeating: "k", count: 8000)), ("x-client-secret", $0.secret)] }),
        ("as basic authentication", { [("authorization", "Basic \($0.clientKey):\($0.secret)")] }),
    ]

    @Test("a key whose name holds what looks like a secret is accepted")
    func secretLookingKey() async throws {
        let tenant = try await stage.tenant()
        var key = tenant.key
        key.clientKey = "ck_sWKeblKBcs_\(newID().replacing("-", with: ""))"
        try await stage.database.rows(
            "UPDATE service.api_keys SET client_key = $1 WHERE client_key = $2",
            [.text(key.clientKey), .text(tenant.key.clientKey)])

        #expect(try await tenant.with(key).delete(newID()).status == 404)
    }

    @Test("whatever is wrong, the 401 is the same to the byte, and is recorded", arguments: credentials.indices)
    func refused(index: Int) async throws {
        let (name, headers) = Self.credentials[index]
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let given = headers(tenant.key)
        for header in given where header.name.lowercased() == "x-client-secret" && header.value.hasPrefix("cs_") {
            SecretLedger.shared.note(header.value)
        }
        let address = "192.0.2.\(index + 1)"
        let call = HTTPCall(
            "DELETE", "/api/v0/customers/\(customer.id)",
            headers: given + [("idempotency-key", newID()), ("x-forwarded-for", address), ("user-agent", "stranger/1")]
        )

        let answer = try await tenant.send(call)

        #expect(answer.status == 401, "\(name)")
        #expect(answer.body == Self.unauthorized)
        #expect(answer.rateHeaders == [], "no budget is told to strangers")
        let told = Set(answer.headers.map { $0.name.lowercased() })
        #expect(
            told.isSubset(of: [
                "content-type", "content-length", "x-request-id", "date", "server", "cache-control", "www-authenticate",
                "x-content-type-options", "connection",
            ]))
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().isEmpty, "a stranger doesn't write into the app's trail")
        let entries = try await stage.database.entries(requestID: answer["x-request-id"] ?? "")
        try #require(entries.count == 1)
        let knowsKey =
            given.filter { $0.name.lowercased() == "x-client-key" && $0.value == tenant.key.clientKey }.count == 1
        var expected = [
            "app_id": "00000000-0000-0000-0000-000000000000", "action": "customer.delete",
            "outcome": "UNAUTHENTICATED", "status_code": "401", "customer_id": customer.id, "ip": address,
            "user_agent": "stranger/1",
        ]
        expected["request_id"] = answer["x-request-id"]
        expected["idempotency_key"] = entries[0]["idempotency_key"]
        expected["actor_client_key"] = knowsKey ? tenant.key.clientKey : nil
        #expect(entries[0].mismatches(with: expected) == [])
    }

    @Test("every header but the id and the date is the same for an unknown key and a wrong secret")
    func sameHeaders() async throws {
        let tenant = try await stage.tenant()
        var wrong = tenant.key
        wrong.secret = "cs_\(newID())"
        var unknown = wrong
        unknown.clientKey = "ck_\(newID())"
        var headers: [[HTTPAnswer.Field]] = []

        for key in [wrong, unknown] {
            let answer = try await tenant.with(key).delete(newID(), headers: [("x-forwarded-for", "192.0.2.200")])
            headers.append(answer.headers.filter { !["x-request-id", "date"].contains($0.name.lowercased()) })
        }

        #expect(headers[0] == headers[1])
    }

    @Test("an unknown key takes about as long as a wrong secret")
    func sameTime() async throws {
        let tenant = try await stage.tenant()
        var wrong = tenant.key
        wrong.secret = "cs_\(newID())"
        var unknown = wrong
        unknown.clientKey = "ck_\(newID())"
        var times: [[Duration]] = [[], []]

        // In turn, so that whatever else the machine does falls on both alike.
        for round in 0..<60 {
            for (index, key) in [wrong, unknown].enumerated() {
                let address = "10.0.\(index).\(round)"
                let start = ContinuousClock.now
                _ = try await tenant.with(key).delete(newID(), headers: [("x-forwarded-for", address)])
                times[index].append(ContinuousClock.now - start)
            }
        }

        let medians = times.map { $0.sorted()[$0.count / 2] }
        #expect(medians[0] < medians[1] * 1.5 && medians[1] < medians[0] * 1.5)
    }

    @Test("a revoked key is refused at once by a running instance")
    func revoked() async throws {
        let tenant = try await stage.tenant()
        let before = try await tenant.delete(newID())

        try await stage.database.revoke(tenant.key)
        let after = try await tenant.delete(newID(), headers: [("x-forwarded-for", "192.0.2.101")])

        #expect(before.status == 404)
        #expect(after.status == 401)
        #expect(after.body == Self.unauthorized)
        let entries = try await stage.database.entries(requestID: after["x-request-id"] ?? "")
        #expect(entries.map { $0["actor_client_key"] } == [tenant.key.clientKey])
    }

    @Test("an expired key is refused")
    func expired() async throws {
        let tenant = try await stage.tenant()

        try await stage.database.run(
            """
            UPDATE service.api_keys SET expires_at = now() - interval '1 second'
            WHERE client_key = '\(tenant.key.clientKey)'
            """
        )
        let answer = try await tenant.delete(newID(), headers: [("x-forwarded-for", "192.0.2.102")])

        #expect(answer.status == 401)
        #expect(answer.body == Self.unauthorized)
    }

    @Test("a rotated key has two secrets for the overlap, then one")
    func rotated() async throws {
        let tenant = try await stage.tenant()
        let fresh = tenant.with(try await stage.database.rotate(tenant.key, overlap: 600))
        let headers = [(name: "x-forwarded-for", value: "192.0.2.103")]

        let during = [try await tenant.delete(newID()), try await fresh.delete(newID())]
        try await stage.database.run(
            """
            UPDATE service.api_keys SET previous_secret_expires_at = now() - interval '1 second'
            WHERE client_key = '\(tenant.key.clientKey)'
            """
        )
        let after = [try await tenant.delete(newID(), headers: headers), try await fresh.delete(newID())]

        #expect(fresh.key.clientKey == tenant.key.clientKey)
        #expect(fresh.key.secret != tenant.key.secret)
        #expect(during.map(\.status) == [404, 404])
        #expect(during.map { $0["x-ratelimit-remaining"] } == ["99", "98"], "one budget for both")
        #expect(after.map(\.status) == [401, 404])
    }

    @Test("a rotation without overlap ends the old secret at once")
    func rotatedAtOnce() async throws {
        let tenant = try await stage.tenant()
        let fresh = tenant.with(try await stage.database.rotate(tenant.key, overlap: 0))

        let old = try await tenant.delete(newID(), headers: [("x-forwarded-for", "192.0.2.104")])

        #expect(old.status == 401)
        #expect(try await fresh.delete(newID()).status == 404)
    }

    @Test("header names in any case are accepted")
    func headerCase() async throws {
        let tenant = try await stage.tenant()
        let call = HTTPCall(
            "DELETE", "/api/v0/customers/\(newID())",
            headers: [
                ("X-CLIENT-KEY", tenant.key.clientKey), ("X-Client-Secret", tenant.key.secret),
                ("Idempotency-KEY", newID()),
            ]
        )

        #expect(try await tenant.send(call).status == 404)
    }
}

/// A secret that strays is neither stored nor logged. The stage looks for it in the whole database and in the log.
@Suite("A secret that strays", .stage(["CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1", "LOG_LEVEL": "trace"]))
struct StraySecretTests {
    let stage = Stage.current

    /// Where a client may put its secret by mistake.
    static let places: [(name: String, change: @Sendable (inout HTTPCall, String) -> Void)] = [
        ("the query under its name", { $0.path += "?x-client-secret=\($1)" }),
        ("the query under another name", { $0.path += "?a=1&note=\($1)&b=2" }),
        ("the query, encoded", { $0.path += "?note=%63%73%5F\($1.dropFirst(3))" }),
        ("the query, without its prefix", { $0.path += "?note=\($1.dropFirst(3))" }),
        ("the path", { $0.path = "/api/v0/customers/\($1)" }),
        ("the path, encoded", { $0.path = "/api/v0/customers/%63s_\($1.dropFirst(3))" }),
        ("the reason", { $0.headers.append(("x-audit-reason", "because \($1) said so")) }),
        ("the actor", { $0.headers.append(("x-actor-id", $1)) }),
        ("the request's id", { $0.headers.append(("x-request-id", $1)) }),
        ("the user agent", { $0.headers.append(("user-agent", "client/1 \($1)")) }),
        ("the trace", { $0.headers.append(("traceparent", $1)) }),
        ("the idempotency key", { $0.headers.append(("idempotency-key", $1)) }),
        ("the forwarded address", { $0.headers.append(("x-forwarded-for", $1)) }),
        ("the content type", { $0.headers.append(("content-type", $1)) }),
        ("the authorization", { $0.headers.append(("authorization", "Bearer \($1)")) }),
        ("a cookie", { $0.headers.append(("cookie", "secret=\($1)")) }),
        ("the referer", { $0.headers.append(("referer", "https://example.com/?s=\($1)")) }),
        ("the origin", { $0.headers.append(("origin", "https://\($1).example.com")) }),
        ("the accepted languages", { $0.headers.append(("accept-language", $1)) }),
        (
            "a header cut off at its limit",
            { $0.headers.append(("x-audit-reason", String(repeating: "x", count: 480) + $1)) }
        ),
        ("the body", { $0.body = "{\"secret\":\"\($1)\"}" }),
    ]

    @Test("beside good credentials", arguments: places.indices)
    func authenticated(index: Int) async throws {
        let tenant = try await stage.tenant()
        var call = tenant.deletion(of: newID())
        Self.places[index].change(&call, tenant.key.secret)

        let answer = try await tenant.send(call)

        #expect((400..<500).contains(answer.status), "\(Self.places[index].name)")
        #expect(answer["x-request-id"] != tenant.key.secret)
        try await expectNoSecret(answer)
    }

    /// Without the prefix and without anything to compare it with, a secret can't be told from other text.
    static let recognizable = places.indices.filter { places[$0].name != "the query, without its prefix" }

    @Test("without any credentials", arguments: recognizable)
    func alone(index: Int) async throws {
        let tenant = try await stage.tenant()
        var call = tenant.deletion(of: newID(), headers: [("x-forwarded-for", "198.18.0.\(index)")])
        call.headers.removeAll { $0.name.hasPrefix("x-client-") }
        Self.places[index].change(&call, tenant.key.secret)

        let answer = try await tenant.send(call)

        #expect(answer.status == 401, "\(Self.places[index].name)")
        try await expectNoSecret(answer)
    }

    @Test("on an unknown route, and in a request that isn't understood")
    func elsewhere() async throws {
        let tenant = try await stage.tenant()
        let secret = tenant.key.secret
        let lines = [
            "GET /\(secret) HTTP/1.1", "PUT /api/v0/customers/\(secret) HTTP/1.1", "\(secret) / HTTP/1.1",
            "GET /?\(secret) HTTP/9.9", secret,
        ]

        for line in lines {
            let connection = try RawConnection(port: stage.service.port)
            await connection.send(RawRequest(line: line, headers: ["Host: x", "x-client-secret: \(secret)"]).text)
            _ = await connection.reply()
        }

        #expect(SecretLedger.shared.leaks(in: stage.service.log) == [])
    }

    @Test("in the client's key, the headers being swapped")
    func swapped() async throws {
        let tenant = try await stage.tenant()
        var swapped = tenant.key
        swapped.clientKey = tenant.key.secret
        swapped.secret = tenant.key.clientKey

        let answer = try await tenant.with(swapped).delete(
            newID(), headers: [("x-audit-reason", tenant.key.secret), ("x-forwarded-for", "198.18.1.1")])

        #expect(answer.status == 401)
        try await expectNoSecret(answer)
    }

    private func expectNoSecret(_ answer: HTTPAnswer) async throws {
        #expect(SecretLedger.shared.leaks(in: answer.body) == [])
        let entries = try await stage.database.entries(requestID: answer["x-request-id"] ?? "")
        #expect(entries.count == 1)
        #expect(SecretLedger.shared.leaks(in: entries.first?.text ?? "") == [])
    }
}

/// What each role may.
@Suite("Roles", .stage())
struct RoleTests {
    let stage = Stage.current

    @Test("a role that may not delete gets a 403, and the customer stays", arguments: ["viewer", "editor", "auditor"])
    func forbidden(role: String) async throws {
        let tenant = try await stage.tenant(role: role)
        let customer = try await tenant.insert()
        let key = newID()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answer.status == 403)
        #expect(answer.body == #"{"statusCode":403,"message":"Insufficient permissions","error":"Forbidden"}"#)
        #expect(answer["x-ratelimit-remaining"] == "99")
        #expect(try await tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        let expected = try await tenant.expectation(
            "FORBIDDEN", 403, customer: customer.id, idempotencyKey: key, answer: answer)
        #expect(entries[0].mismatches(with: expected) == [])
        #expect(entries[0]["before_image"] == nil)
    }

    @Test("an admin may delete")
    func admin() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        #expect(try await tenant.delete(customer.id).status == 200)
    }
}
