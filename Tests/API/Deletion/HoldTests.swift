import LibPQ
import TestSupport
import Testing

@Suite("A hold", .unlimitedStage())
struct HoldTests {
    let stage = Stage.current

    private static let blocker =
        #"{"table":"legal_holds","constraint":"legal_holds_keep_a_customer","count":1}"#

    private func place(
        _ tenant: Tenant, _ customer: String, _ body: String = #"{"reason":"Lawsuit"}"#, key: String? = nil,
        headers: [(name: String, value: String)] = []
    ) async throws -> HTTPAnswer {
        try await tenant.ask("PUT", "/\(customer)/hold", body, key: key, headers: headers)
    }

    private func check(_ tenant: Tenant, _ customer: String) async throws -> String {
        try await tenant.ask("GET", "/\(customer)/deletion-check").body
    }

    /// Lets the time of a hold pass.
    private func expire(_ customer: String) async throws {
        try await stage.database.rows(
            "UPDATE legal_holds SET until = now() - interval '1 millisecond' WHERE customer_id = $1",
            [.text(customer)])
    }

    @Test("is placed, read and released, each answer the same five members")
    func life() async throws {
        let tenant = try await stage.tenant(name: "back office")
        let customer = try await tenant.insert()

        let placed = try await place(tenant, customer.id, #"{"reason":"Lawsuit","until":"2999-01-01T02:00:00+02:00"}"#)
        let read = try await tenant.ask("GET", "/\(customer.id)/hold")
        let released = try await tenant.ask("DELETE", "/\(customer.id)/hold")
        let gone = try await tenant.ask("GET", "/\(customer.id)/hold")
        let again = try await tenant.ask("DELETE", "/\(customer.id)/hold")

        let start = #"{"customer_id":"\#(customer.id)","reason":"Lawsuit","until":"2999-01-01T00:00:00Z","placed_at":""#
        #expect(placed.status == 200 && placed["etag"] == nil)
        #expect(placed.body.hasPrefix(start) && placed.body.hasSuffix(#"Z","placed_by":"back office"}"#))
        #expect(read.status == 200 && read.body == placed.body)
        #expect(released.status == 200 && released.body == placed.body)
        for answer in [gone, again] { #expect(answer.body == HTTPAnswer.error(404, "Hold not found", "Not Found")) }
        let entries = try await tenant.entries()
        #expect(entries.map { $0["action"] } == ["hold.place", "hold.release", "hold.release"])
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "SUCCEEDED", "NOT_FOUND"])
        #expect(entries[0]["reason"] == "Lawsuit")
        #expect(entries[0].request("hold", "until") == "2999-01-01T00:00:00Z")
        #expect(entries.allSatisfy { $0["customer_id"] == customer.id && $0["before_image"] != nil })
    }

    @Test("refuses deletion by its foreign key, alone and in bulk, and the deletion-check names it")
    func refusal() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await place(tenant, customer.id)

        let checked = try await check(tenant, customer.id)
        let deleted = try await tenant.delete(customer.id)
        let trial = try await tenant.bulkDelete([customer.id], dryRun: true)
        let bulk = try await tenant.bulkDelete([customer.id])

        #expect(checked.contains(#""deletable":false,"blockers":[\#(Self.blocker)]"#), "\(checked)")
        #expect(deleted.body == HTTPAnswer.error(400, "Customer cannot be deleted.", "Bad Request"))
        #expect(try BulkResults(trial).statuses == [400] && BulkResults(bulk).statuses == [400])
        let refused = try await tenant.entries(about: customer.id).filter { $0["outcome"] == "REFUSED" }
        #expect(refused.count == 2)
        for entry in refused {
            #expect(entry["constraint_name"] == "legal_holds_keep_a_customer")
            #expect(entry["referencing_table"] == "legal_holds" && entry["error_code"] == "P2003")
        }
        _ = try await tenant.ask("DELETE", "/\(customer.id)/hold")
        #expect(try await check(tenant, customer.id).contains(#""deletable":true,"blockers":[]"#))
        #expect(try await tenant.delete(customer.id).status == 200)
    }

    @Test("past its time holds no longer: for deletion, its check, a bulk request and a redaction")
    func expiry() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 3)
        for customer in customers {
            #expect(
                try await place(tenant, customer, #"{"reason":"Tax audit","until":"2999-01-01T00:00:00Z"}"#).status
                    == 200)
            try await expire(customer)
            #expect(try await tenant.ask("GET", "/\(customer)/hold").status == 404)
            #expect(try await check(tenant, customer).contains(#""deletable":true,"blockers":[]"#))
        }

        #expect(try await tenant.delete(customers[0]).status == 200)
        #expect(try BulkResults(try await tenant.bulkDelete([customers[1]])).statuses == [200])
        #expect(try await tenant.post("redact", customers[2]).status == 200)
        #expect(
            try await stage.database.value("SELECT count(*) FROM legal_holds WHERE app_id = $1", [.text(tenant.app)])
                == "0")
    }

    @Test("past its time isn't named beside what refuses, and stays when the deletion is refused")
    func expiryBesideABlocker() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: customer.id)
        _ = try await place(tenant, customer.id, #"{"reason":"Tax audit","until":"2999-01-01T00:00:00Z"}"#)
        try await expire(customer.id)

        let checked = try await check(tenant, customer.id)
        let deleted = try await tenant.delete(customer.id)

        #expect(
            checked.contains(
                #""blockers":[{"table":"invoices","constraint":"invoices_belong_to_a_customer","count":1}]"#),
            "\(checked)")
        #expect(deleted.status == 400)
        #expect(try await tenant.entries().last?["constraint_name"] == "invoices_belong_to_a_customer")
    }

    @Test("refuses redaction, and once it is released a redaction erases its reason everywhere")
    func redaction() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let body = #"{"reason":"\#(person.reason)"}"#
        let (key, releasing) = (newID(), newID())
        _ = try await place(tenant, person.id, body, key: key)

        let refused = try await tenant.post("redact", person.id)
        let kept = try await tenant.read(person.id)
        _ = try await tenant.ask("DELETE", "/\(person.id)/hold", key: releasing)
        let redacted = try await tenant.post("redact", person.id)

        #expect(refused.body == HTTPAnswer.error(409, "Customer is under a hold", "Conflict"))
        #expect(kept.body == person.customer.record(app: tenant.app))
        #expect(redacted.status == 200)
        try await stage.expectNoTrace(of: person)
        let entries = try await tenant.entries(about: person.id)
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "CONFLICT", "SUCCEEDED", "SUCCEEDED"])
    }

    @Test("a redacted customer that is deleted afterwards is still known by its record")
    func redactionOfADeletedOne() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        _ = try await place(tenant, person.id, #"{"reason":"\#(person.reason)"}"#)
        _ = try await tenant.ask("DELETE", "/\(person.id)/hold")
        let deleted = try await tenant.delete(person.id)

        let redacted = try await tenant.post("redact", person.id)

        #expect(redacted.body == person.redacted(deleted.body))
        try await stage.expectNoTrace(of: person)
    }

    @Test("a second one replaces the first")
    func replacement() async throws {
        let tenant = try await stage.tenant(name: "first")
        let colleague = tenant.with(try await stage.database.createKey(app: tenant.app, name: "second"))
        let customer = try await tenant.insert()

        _ = try await place(tenant, customer.id, #"{"reason":"A","until":"2999-01-01T00:00:00Z"}"#)
        _ = try await place(colleague, customer.id, #"{"reason":"B","until":null}"#)

        let hold = try await tenant.ask("GET", "/\(customer.id)/hold").body
        #expect(hold.contains(#""reason":"B","until":null,"#) && hold.contains(#""placed_by":"second""#))
    }

    @Test("is replayed with its key")
    func replay() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await place(tenant, customer.id, key: key)
        _ = try await tenant.ask("DELETE", "/\(customer.id)/hold")
        let second = try await place(tenant, customer.id, key: key)

        #expect(second["idempotent-replayed"] == "true" && second.body == first.body)
        #expect(try await tenant.ask("GET", "/\(customer.id)/hold").status == 404)
    }

    @Test(
        "an invalid one is a 400 that names the member",
        arguments: [
            ("{}", "reason is required"), (#"{"reason":null}"#, "reason must be a string"),
            (#"{"reason":"  "}"#, "reason must not be blank"),
            (#"{"reason":""}"#, "reason must be 1 to 500 characters"),
            (#"{"reason":"\u0007"}"#, "reason must not contain control characters"),
            (#"{"reason":"a","until":"soon"}"#, "until must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
            (#"{"reason":"a","until":5}"#, "until must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
            (#"{"reason":"a","until":"2020-01-01T00:00:00Z"}"#, "until must be in the future"),
            (#"{"reason":"a","by":"b"}"#, "unknown member by; known are reason, until"),
        ])
    func invalid(body: String, message: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let answer = try await place(tenant, customer.id, body, key: key)

        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
        #expect(try await tenant.outcomes() == ["INVALID"])
        #expect(try await place(tenant, customer.id, key: key).status == 200, "a 400 isn't kept under the key")
    }

    @Test("is in the export of the customer")
    func export() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await place(tenant, customer.id, #"{"reason":"Lawsuit 7"}"#)

        let document = try await tenant.ask("GET", "/\(customer.id)/export").body

        #expect(document.contains(#"{"table":"legal_holds","constraint":"legal_holds_keep_a_customer","rows":[{"#))
        #expect(document.contains(#""reason":"Lawsuit 7""#))
    }

    @Test("of a customer that is deleted at the same moment: one of the two, never both")
    func race() async throws {
        let tenant = try await stage.tenant()
        for customer in try await tenant.insert(count: 20) {
            async let deletion = tenant.delete(customer)
            async let placing = place(tenant, customer)
            let (deleted, placed) = try await (deletion.status, placing.status)

            #expect((deleted, placed) == (200, 404) || (deleted, placed) == (400, 200), "\(deleted) \(placed)")
        }
    }
}
