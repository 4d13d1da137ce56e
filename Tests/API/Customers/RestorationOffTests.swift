import TestSupport
import Testing

@Suite("Restoring while it is switched off, as it is by default", .unlimitedStage())
struct RestorationOffTests {
    let stage = Stage.current

    @Test("no role may, not even an admin", arguments: ["admin", "editor", "viewer", "auditor"])
    func forbidden(role: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        let colleague = tenant.with(try await stage.database.createKey(app: tenant.app, role: role))

        let answer = try await colleague.post("restore", customer.id)

        #expect(answer.body == HTTPAnswer.error(403, "Insufficient permissions", "Forbidden"))
        #expect(try await !tenant.hasCustomer(customer.id))
        let entry = try await tenant.entries().last
        #expect(entry?["action"] == "customer.restore")
        #expect(entry?["outcome"] == "FORBIDDEN")
    }
}
