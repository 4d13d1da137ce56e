import TestSupport
import Testing

/// Source: RFC 9110, section 13; docs/api.md, Requests.
@Suite("A precondition", .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "30"]))
struct PreconditionTests {
    let stage = Stage.current

    /// Every write to an existing customer.
    static let writes = Operation.onCustomer.filter { [.living, .held, .scheduled].contains($0.precondition) }
    static let stale = [#""0123456789abcdef0123456789abcdef""#, #"W/"0123""#, "nonsense", #""a", "b""#]

    @Test("a write whose If-Match is stale changes nothing, and can be repeated with the same key", arguments: writes)
    func stale(operation: Operation) async throws {
        let tenant = try await stage.tenant()
        let customer = try await operation.subject(of: tenant)
        let before = try await tenant.read(customer.id)
        let key = newID()

        for tag in Self.stale {
            let answer = try await operation.ask(tenant, about: customer.id, key: key, ifMatch: tag)

            #expect(answer.status == 412, "\(tag)")
            #expect(answer.hasErrorForm)
            #expect(try await tenant.read(customer.id).body == before.body)
        }
        #expect(try await tenant.outcomes() == Array(repeating: "CONFLICT", count: Self.stale.count))
        #expect(try await tenant.entries().allSatisfy { $0["status_code"] == "412" })
        let etag = try #require(before["etag"])
        let answer = try await operation.ask(tenant, about: customer.id, key: key, ifMatch: etag)
        #expect(answer.status == operation.status, "a 412 isn't kept under the key")
    }

    @Test("a write whose If-Match names the record is made", arguments: writes)
    func current(operation: Operation) async throws {
        let tenant = try await stage.tenant()
        for list in [{ $0 }, { "\"other\", \($0)" }, { _ in "*" }] as [@Sendable (String) -> String] {
            let customer = try await operation.subject(of: tenant)
            let etag = try #require(try await tenant.read(customer.id)["etag"])

            let answer = try await operation.ask(tenant, about: customer.id, ifMatch: list(etag))

            #expect(answer.status == operation.status, "\(list(etag))")
        }
    }

    @Test("a write with If-Match of a customer that isn't there is a 404", arguments: writes)
    func missing(operation: Operation) async throws {
        let tenant = try await stage.tenant()

        for tag in ["*", Self.stale[0]] {
            #expect(try await operation.ask(tenant, about: newID(), ifMatch: tag).status == 404, "\(tag)")
        }
    }

    @Test("of a customer that is deleted is about the record that was deleted", arguments: ["restore", "redact"])
    func deleted(call: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.lastSpent = "12.50" })
        let etag = try #require(try await tenant.read(customer.id)["etag"])
        _ = try await tenant.delete(customer.id)
        let operation = try #require(Operation.all.first { $0.action == "customer.\(call)" })

        for tag in Self.stale {
            #expect(try await operation.ask(tenant, about: customer.id, ifMatch: tag).status == 412, "\(tag)")
        }
        #expect(try await tenant.read(customer.id).status == 404)
        let image = try await tenant.entries().first { $0["action"] == "customer.delete" }?["before_image"]
        #expect(image?.contains("12.50") == true, "nothing is erased")
        let answer = try await operation.ask(tenant, about: customer.id, ifMatch: etag)
        #expect(answer.status == 200)
        let again = try await operation.ask(tenant, about: customer.id, ifMatch: "*")
        #expect(again.status == (call == "restore" ? 409 : 200))
    }

    @Test("another If-Match under the same key is another request")
    func fingerprint() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        #expect(try await tenant.delete(customer.id, idempotencyKey: key).status == 200)
        let answer = try await tenant.delete(
            customer.id, idempotencyKey: key, headers: [("if-match", Self.stale[0])])

        #expect(answer.status == 422)
    }

    @Test("the same body in another spelling is replayed")
    func spelling() async throws {
        let tenant = try await stage.tenant()
        let key = newID()
        let spellings = [
            #"{"first_name":"Änne","last_name":"b","phone_number":"1","email":null}"#,
            #"{ "email" : null, "phone_number":"1","last_name":"b", "first_name":"\u00c4nne" }"#,
            "{\"first_name\":\"\\u00C4nn\\u0065\",\n\t\"last_name\":\"b\",\"phone_number\":\"1\",\"email\":null}",
        ]

        let answers = try await spellings.asyncMap { try await tenant.ask("POST", "", $0, key: key) }

        #expect(answers.map(\.status) == [201, 201, 201])
        #expect(Set(answers.map(\.body)).count == 1)
        #expect(answers.map { $0["idempotent-replayed"] } == [nil, "true", "true"])
        let other = try await tenant.ask(
            "POST", "", #"{"first_name":"Anne","last_name":"b","phone_number":"1","email":null}"#, key: key)
        #expect(other.status == 422)
    }
}

extension Array {
    fileprivate func asyncMap<Mapped>(_ transform: (Element) async throws -> Mapped) async rethrows -> [Mapped] {
        var mapped: [Mapped] = []
        for element in self { mapped.append(try await transform(element)) }
        return mapped
    }
}
