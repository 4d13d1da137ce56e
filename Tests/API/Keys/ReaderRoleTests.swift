import TestSupport
import Testing

/// Every read, and who may.
@Suite("Roles and reads", .unlimitedStage())
struct ReaderRoleTests {
    private static let reads: [(path: String, roles: Set<String>)] = [
        ("/api/v0/key", ["viewer", "editor", "admin", "auditor"]),
        ("/api/v0/customers", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}/deletion-check", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}/invoices", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}/payment-links", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}/transactions", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}/liquidation-addresses", ["viewer", "editor", "admin"]),
        ("/api/v0/customers/{id}/export", ["admin"]),
        ("/api/v0/audit", ["admin", "auditor"]),
        ("/api/v0/audit/{entry}", ["admin", "auditor"]),
        ("/api/v0/audit/checkpoint", ["admin", "auditor"]),
        ("/api/v0/audit/{entry}/proof", ["admin", "auditor"]),
        ("/api/v0/audit/{entry}/certificate", ["admin", "auditor"]),
    ]

    @Test("each role gets exactly the reads that it may", arguments: ["viewer", "editor", "admin", "auditor"])
    func matrix(role: String) async throws {
        let admin = try await Stage.current.tenant()
        let customer = try await admin.insert()
        try await admin.insertDependent("invoices", of: customer.id)
        _ = try await admin.delete(customer.id)
        let entry = try #require(try await admin.entries().first?["id"])
        try await CheckpointKey().sign(admin)
        let tenant = try await admin.withKey(role: role)

        for (path, roles) in Self.reads {
            let path = path.replacing("{id}", with: customer.id).replacing("{entry}", with: entry)
            let answer = try await tenant.get(path)
            #expect(answer.status == (roles.contains(role) ? 200 : 403), "\(role) \(path)")
            #expect(
                answer.status == 200 || answer.body == HTTPAnswer.error(403, "Insufficient permissions", "Forbidden"))
        }
    }

    @Test("what is wrong with a request is answered only after the permission check")
    func order() async throws {
        let auditor = try await Stage.current.tenant(role: "auditor")
        let viewer = try await auditor.withKey(role: "viewer")

        #expect(try await auditor.get("/api/v0/customers", [("take", "0")]).status == 403)
        #expect(try await viewer.get("/api/v0/customers", [("take", "0")]).status == 400)
        #expect(try await viewer.get("/api/v0/audit/x").status == 403)
        #expect(try await auditor.get("/api/v0/audit/x").status == 400)
        #expect(try await HTTPCall("GET", "/api/v0/audit/x").send(to: auditor.service.port).status == 401)
    }

    @Test("reads leave no entry, but an export does")
    func noEntries() async throws {
        let tenant = try await Stage.current.tenant()
        for (path, _) in Self.reads {
            _ = try await tenant.get(path.replacing("{id}", with: newID()).replacing("{entry}", with: newID()))
        }
        #expect(try await tenant.entries().map { $0["action"] } == ["customer.export"])
    }
}
