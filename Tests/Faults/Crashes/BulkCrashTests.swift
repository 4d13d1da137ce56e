import LibPQ
import TestSupport
import Testing

/// The time limit is one that a busy machine keeps, too: the test ends the lease of the dead service itself.
@Suite(
    "A bulk request whose service is killed", .serialized,
    .unlimitedStage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct BulkCrashTests {
    let stage = Stage.current

    @Test(
        "continues where it was when it is asked again, and does nothing twice",
        arguments: [
            ("in the middle of an item", "SELECT FROM customers WHERE id = '%' FOR UPDATE"),
            ("between an item and its entry", "SELECT FROM audit.heads WHERE app_id = '$' FOR UPDATE"),
        ])
    func killed(moment: String, obstacle: String) async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 100)
        let key = newID()
        let doomed = try await stage.secondService()
        _ = try await tenant.through(doomed).bulkDelete([newID()])
        let lock = try await stage.database.begin(
            obstacle.replacing("%", with: customers[10]).replacing("$", with: tenant.app))

        async let lost = try? tenant.through(doomed).bulkDelete(customers, key: key)
        try await stage.database.waitUntilBlocked()
        await doomed.kill()
        try await lock.rollBack()
        let early = try await tenant.bulkDelete(customers, key: key)
        try await stage.database.rows(
            """
            UPDATE service.attempts SET lease_expires_at = clock_timestamp()
            WHERE app_id = $1 AND outcome IS NULL
            """, [.text(tenant.app)])
        let answer = try await whole(tenant, customers, key)

        #expect(await lost == nil, "\(moment)")
        #expect(early.status == 409)
        #expect(early["retry-after"].flatMap { Int($0) }.map { (1...30).contains($0) } == true)
        let results = try BulkResults(answer)
        #expect(results.ids == customers)
        #expect(Set(results.statuses) == [200])
        #expect(results.results.allSatisfy { $0.customer?.id == $0.id })
        #expect(try await tenant.customerCount() == "0")
        // On a busy machine its time may have been over before it was killed.
        try await eventually("the first request had its entry") {
            let ofTheWhole = try await tenant.entries().filter { $0["idempotency_key"] == key }
            return ofTheWhole.contains { ["INTERRUPTED", "FAILED"].contains($0["outcome"]) }
        }
        let entries = try await tenant.entries()
        for customer in customers {
            let succeeded = entries.filter { $0["customer_id"] == customer && $0["outcome"] == "SUCCEEDED" }
            #expect(succeeded.count == 1)
            #expect(succeeded.first?["before_image"] != nil)
        }
        let ofTheWhole = entries.filter { $0["action"] == "customer.bulk-delete" && $0["idempotency_key"] == key }
        #expect(ofTheWhole.filter { $0["outcome"] == "SUCCEEDED" }.count == 1)
        let replay = try await tenant.bulkDelete(customers, key: key)
        #expect(replay.body == answer.body)
        #expect(replay["idempotent-replayed"] == "true")
    }

    /// Asks again, once the lease is over, until it is answered. A hundred may take more than the time limit; then the next
    /// one continues.
    private func whole(_ tenant: Tenant, _ customers: [String], _ key: String) async throws -> HTTPAnswer {
        var answer: HTTPAnswer?
        try await eventually("the bulk request was answered", within: .seconds(40)) {
            let running = try await stage.database.value(
                """
                SELECT count(*) FROM service.attempts
                WHERE app_id = '\(tenant.app)' AND outcome IS NULL AND lease_expires_at > now()
                """)
            guard running == "0" else { return false }
            answer = try await tenant.bulkDelete(customers, key: key)
            return answer?.status == 200
        }
        return try #require(answer)
    }
}
