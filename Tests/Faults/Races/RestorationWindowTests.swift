import LibPQ
import TestSupport
import Testing

/// The time limit is one that a busy machine keeps, too: nothing here waits for a lease to expire.
@Suite(
    "A restoration that meets a deletion", .serialized,
    .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "30", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct RestorationWindowTests {
    let stage = Stage.current

    @Test("takes the last one, also when the service died before it had recorded an earlier one")
    func lateEntry() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let doomed = try await stage.secondService()
        let key = newID()
        _ = try await tenant.delete(newID())
        let head = try await stage.database.begin(
            "SELECT FROM audit.heads WHERE app_id = '\(tenant.app)' FOR UPDATE")
        async let lost = try? tenant.through(doomed).delete(customer.id, idempotencyKey: key)
        try await stage.database.waitUntilBlocked()
        await doomed.kill()
        // The session would finish for its dead client what it waits for.
        _ = try await stage.database.value(
            """
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_service' AND wait_event_type = 'Lock'
            """)
        try await head.rollBack()
        #expect(await lost == nil)
        #expect(try await !tenant.hasCustomer(customer.id))
        try await stage.database.endLease(of: key)

        let first = try await tenant.post("restore", customer.id)
        _ = try await tenant.patch(customer.id, #"{"last_name":"Second"}"#)
        _ = try await tenant.delete(customer.id)
        try await eventually("both deletions were recorded") {
            try await tenant.entries(about: customer.id).filter {
                $0["action"] == "customer.delete" && $0["outcome"] == "SUCCEEDED"
            }.count == 2
        }
        let second = try await tenant.post("restore", customer.id)

        #expect(first.status == 200)
        #expect(second.status == 200)
        #expect(second.body.contains("Second"))
        let actions = try await tenant.entries(about: customer.id).map { $0["action"] }
        #expect(actions.prefix(2) == ["customer.delete", "customer.restore"], "the trail tells it in order")
    }

    @Test("dates the change when it makes it, not when it began to wait")
    func date() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let lock = try await stage.database.begin(
            "SELECT pg_advisory_xact_lock(hashtextextended('redaction \(tenant.app)', 0))")

        async let restoration = tenant.post("restore", customer.id)
        try await stage.database.waitUntilBlocked()
        let patched = try await tenant.patch(customer.id, #"{"last_name":"Second"}"#)
        _ = try await tenant.delete(customer.id)
        try await lock.rollBack()
        let restored = try await restoration

        #expect(restored.status == 200)
        #expect(try Record(restored).updatedAt > Record(patched).updatedAt)
    }
}
