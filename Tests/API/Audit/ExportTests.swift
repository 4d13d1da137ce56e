import Foundation
import TestSupport
import Testing

@Suite("The export of all that is held about one person", .unlimitedStage())
struct ExportTests {
    private static let lists = ["invoices", "payment_links", "transactions", "liquidation_addresses"]

    @Test("it holds the record, everything that refers to it and the trail")
    func everything() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        for table in Self.lists { try await tenant.insertDependent(table, of: customer.id) }
        try await tenant.insertDependent("invoices", of: customer.id, ["amount": "0.10"])
        _ = try await tenant.delete(customer.id)

        let answer = try await tenant.get("/api/v0/customers/\(customer.id)/export")

        #expect(answer.status == 200)
        #expect(answer.body.hasPrefix(#"{"customer":\#(customer.record(app: tenant.app)),"invoices":[{"id":"#))
        #expect(answer.body.contains(#""amount":0.10,"#))
        let object = try answer.object
        #expect(Set(object.keys) == Set(["customer", "audit_entries", "other"] + Self.lists))
        #expect(Self.lists.map { (object[$0] as? [Any])?.count } == [2, 1, 1, 1])
        #expect((object["audit_entries"] as? [[String: Any]])?.map { $0["outcome"] as? String } == ["REFUSED"])
    }

    @Test("of a deleted customer it holds what the trail knows")
    func deleted() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)

        let answer = try await tenant.get("/api/v0/customers/\(customer.id)/export")

        #expect(
            answer.body.hasPrefix(
                #"{"customer":null,"invoices":[],"payment_links":[],"transactions":[],"liquidation_addresses":[],"#
                    + #""audit_entries":[{"seq":1,"#))
    }

    @Test("neither row nor trail is a 404, and another app's is neither")
    func unknown() async throws {
        let tenant = try await Stage.current.tenant()
        let other = try await Stage.current.tenant()
        let gone = try await other.insert()
        _ = try await other.delete(gone.id)

        for id in [newID(), gone.id, try await other.insert().id] {
            let answer = try await tenant.get("/api/v0/customers/\(id)/export")
            #expect(answer.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        }
        let again = try await tenant.get("/api/v0/customers/\(gone.id)/export")
        #expect(again.status == 404, "an earlier export is no knowledge")
        #expect(try await tenant.entries().map { $0["outcome"] } == Array(repeating: "NOT_FOUND", count: 4))
    }

    @Test("it leaves an entry, as a write does, whatever the outcome")
    func entry() async throws {
        let tenant = try await Stage.current.tenant()
        let viewer = try await tenant.withKey(role: "viewer")
        let customer = try await tenant.insert()
        let path = "/\(customer.id)/export"
        let headers = [(name: "x-actor-id", value: "jane"), (name: "x-audit-reason", value: "a request of the person")]

        let answers = [
            try await tenant.ask("GET", path, headers: headers), try await viewer.ask("GET", path),
            try await tenant.ask("GET", "/1/export"),
            try await tenant.ask("GET", path, headers: [("x-actor-id", String(repeating: "a", count: 201))]),
        ]

        #expect(answers.map(\.status) == [200, 403, 400, 400])
        #expect(answers[0]["x-ratelimit-limit"] != nil)
        let entries = try await tenant.entries()
        #expect(entries.map { $0["action"] } == Array(repeating: "customer.export", count: 4))
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "FORBIDDEN", "INVALID", "INVALID"])
        #expect(entries.map { $0["status_code"] } == ["200", "403", "400", "400"])
        #expect(entries[0]["customer_id"] == customer.id)
        #expect(entries[0]["actor_claimed"] == "jane")
        #expect(entries[0]["reason"] == "a request of the person")
        #expect(entries[0]["actor_client_key"] == tenant.key.clientKey)
        #expect(entries[0]["request_id"] == answers[0]["x-request-id"])
        #expect(entries[0].request("path") == "/api/v0/customers\(path)")
        #expect(try answers[0].object["audit_entries"] as? [String] == [], "those before it")
    }

    @Test("wrong credentials leave one too")
    func stranger() async throws {
        let tenant = try await Stage.current.tenant()
        var key = tenant.key
        key.secret = "cs_\(newID())"

        let answer = try await tenant.with(key).ask("GET", "/\(newID())/export")

        #expect(answer.status == 401)
        let entries = try await Stage.current.database.entries(requestID: answer["x-request-id"] ?? "")
        #expect(entries.map { $0["outcome"] } == ["UNAUTHENTICATED"])
        #expect(entries.map { $0["action"] } == ["customer.export"])
    }

    @Test("while the trail is being erased, it shows nothing of what is to be erased")
    func redacted() async throws {
        let tenant = try await Stage.current.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        _ = try await tenant.delete(person.id)
        _ = try await tenant.post("redact", person.id)

        let answer = try await tenant.get("/api/v0/customers/\(person.id)/export")

        #expect(answer.status == 200)
        #expect(person.traces(in: answer.body) == [])
    }
}
