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
        #expect(Set(object.keys) == Set(["customer", "audit_entries"] + Self.lists))
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
    }
}
