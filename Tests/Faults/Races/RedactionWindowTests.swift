import LibPQ
import TestSupport
import Testing

/// The moments at which something could slip past a redaction, each of them held open: the head of the chain, which a
/// redaction locks last, is kept from it.
@Suite(
    "A redaction that is about to commit", .serialized,
    .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "30", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "20"]))
struct RedactionWindowTests {
    let stage = Stage.current

    @Test("a refusal whose entry isn't written yet brings nothing back")
    func refusalBeforeItsEntry() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        try await tenant.insertDependent("invoices", of: person.id)
        let head = try await heldHead(of: tenant)

        // The writer of entries waits with another one, so that of the refusal waits in the service.
        async let other = tenant.delete(newID())
        try await stage.database.waitUntilBlocked()
        async let refusal = tenant.delete(person.id, headers: [("x-audit-reason", person.reason)])
        try await eventually("the refusal was settled") {
            let count = try await stage.database.value(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state = 'idle' AND query LIKE '%service.refusal(%'
                  AND usename = 'customerd_service'
                """)
            return count != "0"
        }
        async let redaction = tenant.post("redact", person.id)
        try await stage.database.waitUntilBlocked(2)
        try await head.rollBack()

        #expect(try await [other.status, refusal.status, redaction.status] == [404, 400, 200])
        try await stage.expectNoTrace(of: person)
    }

    @Test("a restoration doesn't bring back what is being erased")
    func restoration() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        _ = try await tenant.delete(person.id)
        let head = try await heldHead(of: tenant)

        async let redaction = tenant.post("redact", person.id)
        try await stage.database.waitUntilBlocked()
        async let restoration = tenant.post("restore", person.id)
        try await stage.database.waitUntilBlocked(2)
        try await head.rollBack()

        #expect(try await redaction.status == 200)
        #expect(try await restoration.status == 409)
        #expect(try await !tenant.hasCustomer(person.id))
        try await stage.expectNoTrace(of: person)
    }

    @Test("a dry run that saw the customer before doesn't keep what it saw")
    func dryRun() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let head = try await heldHead(of: tenant)
        let key = newID()

        async let redaction = tenant.post("redact", person.id)
        try await stage.database.waitUntilBlocked()
        async let check = tenant.bulkDelete([person.id], dryRun: true, key: key)
        try await stage.database.waitUntilBlocked(2)
        try await head.rollBack()

        #expect(try await [redaction.status, check.status] == [200, 200])
        try await stage.expectNoTrace(of: person)
        #expect(person.traces(in: try await tenant.bulkDelete([person.id], dryRun: true, key: key).body) == [])
    }

    /// Keeps all entries of a tenant from being appended.
    private func heldHead(of tenant: Tenant) async throws -> OpenTransaction {
        _ = try await tenant.delete(newID())
        return try await stage.database.begin("SELECT FROM audit.heads WHERE app_id = '\(tenant.app)' FOR UPDATE")
    }
}
