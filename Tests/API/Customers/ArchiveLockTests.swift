import TestSupport
import Testing

/// The trigger that keeps archived customers without new records, and the locks of ordinary business.
@Suite(
    "The lock that a new record takes on an archivable customer", .stage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct ArchiveLockTests {
    let stage = Stage.current

    @Test("two payments of one customer that also update the customer don't deadlock")
    func payments() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let insertion = "INSERT INTO transactions (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer.id)')"
        let update = "UPDATE customers SET last_spent = 1 WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)'"
        let first = try await stage.database.begin(insertion)
        let second = try await stage.database.begin(insertion)

        try await first.run(update)
        async let waiting: Void = second.run(update)
        try await first.commit()
        try await waiting
        try await second.commit()

        #expect(
            try await stage.database.value("SELECT count(*) FROM transactions WHERE app_id = '\(tenant.app)'") == "2")
    }

    @Test("an open invoice transaction holds up no change of the customer, but an archive")
    func openInvoice() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let invoice = try await stage.database.begin(
            "INSERT INTO invoices (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer.id)')")

        let patched = try await tenant.patch(customer.id, #"{"last_name":"New"}"#)
        let status = try await tenant.setStatus(customer.id, "DEACTIVATED")
        let unarchived = try await tenant.post("unarchive", customer.id)
        let redacted = try await tenant.post("redact", customer.id)
        async let archived = tenant.post("archive", customer.id)
        try await stage.database.waitUntilBlocked()
        try await invoice.commit()

        #expect([patched, status, unarchived, redacted].map(\.status) == [200, 200, 200, 200])
        #expect(try await archived.status == 200)
        let late = "INSERT INTO invoices (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer.id)')"
        #expect(try await stage.database.sqlstate(late, as: "postgres") == "23514")
    }
}
