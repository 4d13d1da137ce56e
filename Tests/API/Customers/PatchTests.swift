import LibPQ
import TestSupport
import Testing

@Suite("Changing a customer", .unlimitedStage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct PatchTests {
    let stage = Stage.current

    @Test("changes what is named and nothing else, not a digit")
    func changes() async throws {
        let tenant = try await stage.tenant()
        var customer = try await tenant.insert(
            CustomerFixture {
                $0.lastSpent = "9999999999999999.99"
                $0.createdAt = "2024-01-01T00:00:00.000001Z"
            })

        let answer = try await tenant.patch(customer.id, #"{"last_name":"Neu","customer_type":"Government"}"#)

        (customer.lastName, customer.customerType) = ("Neu", "Government")
        let old = customer.updatedAt
        customer.updatedAt = try Record(answer).updatedAt
        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(customer.updatedAt > old)
        #expect(try await tenant.read(customer.id).body == answer.body)
        #expect(try await tenant.read(customer.id)["etag"] == answer["etag"])
    }

    @Test("names the members that changed in its entry, without their values, and keeps the record as it was")
    func entry() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        _ = try await tenant.patch(
            customer.id, #"{"first_name":"John","last_name":"Secretive","email":null,"phone_number":"+999"}"#)

        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(entries[0]["action"] == "customer.update")
        #expect(entries[0]["outcome"] == "SUCCEEDED")
        #expect(entries[0]["customer_id"] == customer.id)
        #expect(try Changes.named(by: entries[0]) == ["email", "last_name", "phone_number"])
        #expect(entries[0]["request"]?.contains("Secretive") == false)
        #expect(entries[0]["request"]?.contains("+999") == false)
        #expect(try await stage.database.image(of: entries[0], is: customer.record(app: tenant.app)))
    }

    @Test("null clears the email address, and nothing else can be cleared")
    func clears() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let cleared = try await tenant.patch(customer.id, #"{"email":null}"#)
        let again = try await tenant.patch(customer.id, #"{"email":"new@example.com"}"#)

        #expect(cleared.body.contains(#""email":null"#))
        #expect(again.body.contains(#""email":"new@example.com""#))
        for member in ["first_name", "last_name", "phone_number", "status", "customer_type"] {
            let refused = try await tenant.patch(customer.id, "{\"\(member)\":null}")
            #expect(refused.status == 400)
            #expect(refused.body.contains(member))
        }
    }

    @Test(
        "refuses a body that would change nothing or what can't be changed",
        arguments: [
            ("{}", "first_name"), ("[]", "object"), ("", "object"), (#"{"frist_name":"a"}"#, "frist_name"),
            (#"{"id":"11111111-1111-1111-1111-111111111111"}"#, "id"),
            (#"{"createdAt":"2024-01-01T00:00:00Z"}"#, "createdAt"),
            (#"{"archived":true}"#, "archived"), (#"{"last_spent":1}"#, "last_spent"),
            (#"{"first_name":""}"#, "first_name"),
            (#"{"status":"GONE"}"#, "status"), (#"{"last_name":"a\u0000"}"#, "last_name"),
        ])
    func wrongBodies(body: String, named: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.patch(customer.id, body)

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains(named))
        #expect(try await tenant.read(customer.id).body == customer.record(app: tenant.app))
        #expect(try await tenant.outcomes() == ["INVALID"])
    }

    static let preconditions: [(name: String, status: Int, value: @Sendable (String) -> String)] = [
        ("the record's tag", 200, { $0 }),
        ("any", 200, { _ in "*" }),
        ("a list that holds it", 200, { "\"a\" , \($0),\"b\"" }),
        ("another tag", 412, { _ in "\"0123456789abcdef0123456789abcdef\"" }),
        ("its weak form, which never matches", 412, { "W/\($0)" }),
        ("a list of others", 412, { "\"a\", W/\($0)" }),
        ("the tag without its quotes", 412, { $0.replacing("\"", with: "") }),
        ("any as a tag", 412, { _ in "\"*\"" }),
    ]

    @Test("honours If-Match", arguments: preconditions.indices)
    func ifMatch(index: Int) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let (name, status, value) = Self.preconditions[index]
        let tag = try #require(try await tenant.read(customer.id)["etag"])

        let answer = try await tenant.patch(customer.id, #"{"last_name":"New"}"#, ifMatch: value(tag))

        #expect(answer.status == status, "\(name)")
        let isChanged = try await tenant.read(customer.id).body != customer.record(app: tenant.app)
        #expect(isChanged == (status == 200), "\(name)")
    }

    @Test("a 412 has an entry with the record as it is, and isn't kept")
    func preconditionFailed() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let tag = try #require(try await tenant.read(customer.id)["etag"])
        let key = newID()

        let first = try await tenant.patch(customer.id, #"{"last_name":"New"}"#, ifMatch: "\"old\"", key: key)
        let second = try await tenant.patch(customer.id, #"{"last_name":"New"}"#, ifMatch: "\"old\"", key: key)
        let third = try await tenant.patch(customer.id, #"{"last_name":"New"}"#, ifMatch: tag, key: key)

        #expect([first, second, third].map(\.status) == [412, 412, 200])
        #expect(first.hasErrorForm)
        #expect([first, second, third].map { $0["idempotent-replayed"] } == [nil, nil, nil])
        let entries = try await tenant.entries()
        #expect(entries.map { $0["outcome"] } == ["CONFLICT", "CONFLICT", "SUCCEEDED"])
        #expect(entries.map { $0["status_code"] } == ["412", "412", "200"])
        #expect(try await stage.database.image(of: entries[0], is: customer.record(app: tenant.app)))
        #expect(try Changes.named(by: entries[0]) == nil)
    }

    @Test("two updates with the same tag: one wins")
    func lostUpdate() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let tag = try #require(try await tenant.read(customer.id)["etag"])

        async let first = tenant.patch(customer.id, #"{"last_name":"First"}"#, ifMatch: tag)
        async let second = tenant.patch(customer.id, #"{"last_name":"Second"}"#, ifMatch: tag)
        let statuses = try await [first.status, second.status]

        #expect(statuses.sorted() == [200, 412])
    }

    @Test("an unknown customer is a 404, which is kept")
    func notFound() async throws {
        let tenant = try await stage.tenant()
        let customer = CustomerFixture()
        let key = newID()

        let first = try await tenant.patch(customer.id, #"{"last_name":"New"}"#, key: key)
        try await tenant.insert(customer)
        let second = try await tenant.patch(customer.id, #"{"last_name":"New"}"#, key: key)

        #expect(first.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
        #expect(try await tenant.read(customer.id).body == customer.record(app: tenant.app))
        #expect(try await tenant.outcomes() == ["NOT_FOUND", "REPLAYED"])
    }

    @Test("with a key it is done once and replayed to the byte, ETag included")
    func idempotent() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await tenant.patch(customer.id, #"{"last_name":"First"}"#, key: key)
        _ = try await tenant.patch(customer.id, #"{"last_name":"Second"}"#)
        let replay = try await tenant.patch(customer.id, #"{"last_name":"First"}"#, key: key)
        let other = try await tenant.patch(customer.id, #"{"last_name":"Other"}"#, key: key)

        #expect(replay.body == first.body)
        #expect(replay["etag"] == first["etag"])
        #expect(replay["idempotent-replayed"] == "true")
        #expect(other.status == 422)
        #expect(try await tenant.read(customer.id).body.contains("Second"))
    }

    @Test(
        "updatedAt never goes back, though an update waited for another",
        .singleNode("Citus takes no VOLATILE function in an UPDATE"))
    func updatedAtIsMonotonous() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let rival = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")

        async let waiting = tenant.patch(customer.id, #"{"last_name":"Second"}"#)
        try await stage.database.waitUntilBlocked()
        try await rival.run("UPDATE customers SET updated_at = clock_timestamp() WHERE id = '\(customer.id)'")
        try await rival.commit()
        let answer = try await waiting

        #expect(answer.status == 200)
        let before = try await stage.database.value(
            "SELECT before_image ->> 'updatedAt' FROM audit.entries WHERE app_id = $1", [.text(tenant.app)])
        let wentOn = try await stage.database.value(
            "SELECT $1::timestamptz > $2::timestamptz", [.text(try Record(answer).updatedAt), .text(before)])
        #expect(wentOn == "t")
    }

    @Test("the status is set by a call of its own", arguments: ["ACTIVE", "BLACKLISTED", "DEACTIVATED"])
    func status(status: String) async throws {
        let tenant = try await stage.tenant()
        var customer = try await tenant.insert(
            CustomerFixture { $0.status = status == "ACTIVE" ? "BLACKLISTED" : "ACTIVE" })
        let before = customer.record(app: tenant.app)
        let key = newID()

        let answer = try await tenant.setStatus(customer.id, status, key: key)
        let replay = try await tenant.setStatus(customer.id, status, key: key)

        (customer.status, customer.updatedAt) = (status, try Record(answer).updatedAt)
        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(replay.body == answer.body)
        let entries = try await tenant.entries()
        #expect(entries.map { $0["action"] } == ["customer.status", "customer.status"])
        #expect(try Changes.named(by: entries[0]) == ["status"])
        #expect(try await stage.database.image(of: entries[0], is: before))
    }

    @Test(
        "the status call takes a status and nothing else",
        arguments: [
            ("{}", "status"), (#"{"status":"blacklisted"}"#, "status"), (#"{"status":null}"#, "status"),
            (#"{"status":1}"#, "status"), (#"{"status":"ACTIVE","first_name":"a"}"#, "first_name"), ("", "object"),
        ])
    func wrongStatus(body: String, named: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.ask("PATCH", "/\(customer.id)/status", body)

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains(named))
        #expect(try await tenant.read(customer.id).body == customer.record(app: tenant.app))
    }

    @Test("an unknown customer's status is a 404, a path without UUID a 400")
    func wrongPaths() async throws {
        let tenant = try await stage.tenant()

        let unknown = try await tenant.setStatus(newID(), "ACTIVE")
        let malformed = try await tenant.setStatus("no-uuid", "ACTIVE")

        #expect(unknown.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        #expect(malformed.body == HTTPAnswer.error(400, "Validation failed (uuid is expected)", "Bad Request"))
    }
}
