import LibPQ
import TestSupport
import Testing

/// Keys that may do less than their role, come from fewer addresses, or ask less often.
@Suite("Restrictions of keys", .stage(["CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1"]))
struct KeyRestrictionTests {
    let stage = Stage.current

    private func tenant(_ options: [String], role: String = "admin") async throws -> Tenant {
        let tenant = try await stage.tenant()
        return tenant.with(try await stage.database.createKey(app: tenant.app, role: role, options: options))
    }

    private func from(_ address: String) -> [(name: String, value: String)] {
        [("x-forwarded-for", address)]
    }

    @Test("a key of its own limit has that many requests in a window, and says so")
    func limit() async throws {
        let tenant = try await tenant(["--rate-limit", "3"])

        let answers = try await [1, 2, 3, 4].asyncMap { _ in try await tenant.delete(newID()) }

        #expect(answers.map(\.status) == [404, 404, 404, 429])
        #expect(answers.map { $0["x-ratelimit-limit"] } == ["3", "3", "3", "3"])
        #expect(answers.map { $0["x-ratelimit-remaining"] } == ["2", "1", "0", "0"])
    }

    @Test("a key may have more requests than the service gives by default")
    func higherLimit() async throws {
        let tenant = try await tenant(["--rate-limit", "250"])
        let customers = try await tenant.insert(count: 100)

        let first = try await tenant.bulkDelete(customers)
        let second = try await tenant.delete(newID())

        #expect(first.status == 200)
        #expect(second.status == 404 && second["x-ratelimit-remaining"] == "149")
    }

    @Test("a bulk request of more items than the key's own limit is a 400, not a 429 for ever")
    func bulk() async throws {
        let tenant = try await tenant(["--rate-limit", "2"])
        let customers = try await tenant.insert(count: 3)

        let answer = try await tenant.bulkDelete(customers)

        #expect(answer.status == 400)
        #expect(answer.body.contains("ids must hold at most 2 UUIDs, the rate limit of the key"))
        #expect(answer["x-ratelimit-remaining"] == "1")
        #expect(try await tenant.customerCount() == "3")
        #expect(try await tenant.outcomes() == ["INVALID"])
    }

    @Test(
        "a key is accepted from its networks, and is forbidden from elsewhere, which its trail says",
        arguments: [
            ("192.0.2.7", true), ("192.0.2.8", false), ("198.51.100.200", true), ("198.51.101.1", false),
            ("2001:db8::1", true), ("2001:db9::1", false), ("::ffff:192.0.2.7", true),
        ])
    func addresses(address: String, isAllowed: Bool) async throws {
        let tenant = try await tenant(
            ["--allow", "192.0.2.7", "--allow", "198.51.100.9/24", "--allow", "2001:db8::/32"])
        let customer = try await tenant.insert()

        let read = try await tenant.ask("GET", "/\(customer.id)", headers: from(address))
        let deletion = try await tenant.delete(customer.id, headers: from(address))

        #expect(read.status == (isAllowed ? 200 : 403))
        #expect(deletion.status == (isAllowed ? 200 : 403))
        #expect(try await tenant.hasCustomer(customer.id) != isAllowed)
        let entry = try #require(try await tenant.entries().last)
        #expect(entry["outcome"] == (isAllowed ? "SUCCEEDED" : "FORBIDDEN"))
        guard !isAllowed else { return }
        #expect(deletion.body == HTTPAnswer.error(403, "Insufficient permissions", "Forbidden"))
        #expect(read.body == deletion.body)
        #expect(entry["ip"] == address && entry["actor_client_key"] == tenant.key.clientKey)
        #expect(entry["error_message"] == "The key is not accepted from this address")
    }

    @Test("an export from elsewhere is forbidden, with its entry")
    func export() async throws {
        let tenant = try await tenant(["--allow", "192.0.2.7"])
        let customer = try await tenant.insert()

        let answer = try await tenant.ask("GET", "/\(customer.id)/export", headers: from("192.0.2.8"))

        #expect(answer.status == 403)
        let entries = try await tenant.entries()
        #expect(entries.map { $0["outcome"] } == ["FORBIDDEN"])
        #expect(entries.first?["error_message"] == "The key is not accepted from this address")
    }

    @Test("a key with fewer permissions than its role may do only those")
    func permissions() async throws {
        let tenant = try await tenant(["--permission", "customers:delete", "--permission", "customers:read"])
        let (first, second) = (try await tenant.insert(), try await tenant.insert())

        #expect(try await tenant.read(first.id).status == 200)
        #expect(try await tenant.delete(first.id).status == 200)
        #expect(try await tenant.setStatus(second.id, "BLACKLISTED").status == 403)
        #expect(try await tenant.ask("GET", "/\(second.id)/export").status == 403)
        #expect(try await tenant.outcomes() == ["SUCCEEDED", "FORBIDDEN", "FORBIDDEN"])
    }

    @Test("a key is told what it may do, but not from elsewhere")
    func description() async throws {
        let tenant = try await tenant([
            "--permission", "customers:read", "--permission", "audit:read", "--allow", "192.0.2.7",
            "--expires", "2999-01-01T00:00:00Z",
        ])

        func described(_ address: String) async throws -> HTTPAnswer {
            try await tenant.send(HTTPCall("GET", "/api/v0/key", headers: tenant.key.headers + from(address)))
        }
        let (answer, elsewhere) = (try await described("192.0.2.7"), try await described("192.0.2.8"))

        let key = tenant.key.clientKey
        #expect(
            answer.body == """
                {"client_key":"\(key)","name":"tests","role":"admin","permissions":["customers:read","audit:read"],\
                "appId":"app_\(tenant.app)","expires_at":"2999-01-01T00:00:00Z"}
                """)
        #expect(elsewhere.body == HTTPAnswer.error(403, "Insufficient permissions", "Forbidden"))
    }

    @Test("a rotation keeps all of it")
    func rotation() async throws {
        let tenant = try await tenant(
            ["--rate-limit", "7", "--allow", "192.0.2.0/24", "--permission", "customers:delete"])

        let rotated = tenant.with(try await stage.database.rotate(tenant.key, overlap: 0))
        let answer = try await rotated.delete(newID(), headers: from("192.0.2.1"))

        #expect(answer.status == 404 && answer["x-ratelimit-limit"] == "7")
        #expect(try await rotated.delete(newID(), headers: from("192.0.3.1")).status == 403)
        #expect(try await rotated.ask("GET", "/\(newID())", headers: from("192.0.2.1")).status == 403)
    }
}

extension Sequence {
    /// One after the other.
    fileprivate func asyncMap<Value>(_ body: (Element) async throws -> Value) async rethrows -> [Value] {
        var values: [Value] = []
        for element in self { values.append(try await body(element)) }
        return values
    }
}
