import LibPQ
import TestSupport
import Testing

/// Whatever dies at whatever moment: a large bulk deletion goes on, and repeats no item.
@Suite("A large bulk deletion in trouble", .serialized, .stages)
struct LargeBulkCrashTests {
    private static let settings = ["CUSTOMERD_BULK_PER_SECOND": "200", "CUSTOMERD_RATE_LIMIT": "1000000"]

    /// Lets the leases of a dead instance pass.
    private func endLeases(_ tenant: Tenant) async throws {
        try await tenant.database.rows(
            "UPDATE service.attempts SET lease_expires_at = clock_timestamp() WHERE app_id = $1 AND entry_seq IS NULL",
            [.text(tenant.app)])
        try await tenant.database.rows(
            "UPDATE service.bulk_deletions SET try_after = clock_timestamp() WHERE app_id = $1", [.text(tenant.app)])
    }

    private func expectOnce(_ tenant: Tenant, _ customers: [String], _ state: String) async throws {
        #expect(
            state.hasSuffix(
                #""status":"DONE","total":\#(customers.count),"deleted":\#(customers.count),"#
                    + #""refused":0,"not_found":0,"failed":0}"#), "\(state)")
        #expect(try await tenant.customerCount() == "0")
        let deletions = try await tenant.entries().filter { $0["action"] == "customer.delete" }
        for customer in customers {
            let outcomes = deletions.filter { $0["customer_id"] == customer }.map { $0["outcome"] }
            #expect(outcomes.count { $0 == "SUCCEEDED" } == 1)
            #expect(outcomes.allSatisfy { $0 == "SUCCEEDED" || $0 == "INTERRUPTED" }, "\(outcomes)")
        }
    }

    @Test(
        "goes on when its instance is killed, and repeats nothing",
        arguments: [
            "sent take_bulk_items", "answered take_bulk_items", "before enter", "sent enter", "answered enter",
            "worked",
            "sent append", "answered append", "before end_bulk_items", "sent end_bulk_items", "answered end_bulk_items",
        ])
    func killed(moment: String) async throws {
        let stage = try await Stage.open(Self.settings, failpoints: try Failpoints())
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 60)
        let path = try #require(try await tenant.startBulk(customers)["location"])
        // Not in the first batch.
        try await eventually("some were deleted") { try await tenant.customerCount() != "60" }
        try stage.failpoints.arm(moment)
        try await stage.failpoints.reach(moment)
        await stage.service.kill()
        stage.failpoints.disarm()
        try await endLeases(tenant)

        try await stage.restart()

        try await expectOnce(tenant, customers, try await tenant.finishBulk(path))
    }

    @Test("is shared by three instances, one of which is killed again and again")
    func instances() async throws {
        let stage = try await Stage.open(Self.settings)
        let tenant = try await stage.tenant()
        for _ in 1...2 { _ = try await stage.secondService() }
        var bulks: [(path: String, customers: [String])] = []
        for _ in 1...3 {
            let customers = try await tenant.insert(count: 100)
            bulks.append((try #require(try await tenant.startBulk(customers)["location"]), customers))
        }

        for left in [240, 160, 80] {
            try await eventually("more were deleted", within: .seconds(60)) {
                try await Int(tenant.customerCount() ?? "") ?? 0 <= left
            }
            await stage.service.kill()
            try await stage.restart()
        }

        var states: [String] = []
        for bulk in bulks { states.append(try await tenant.finishBulk(bulk.path, within: .seconds(90))) }
        for (bulk, state) in zip(bulks, states) { try await expectOnce(tenant, bulk.customers, state) }
    }

    @Test("goes on when the clock has stepped back by an hour")
    func clock() async throws {
        let stage = try await Stage.open(Self.settings, failpoints: try Failpoints())
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 30)
        let path = try #require(try await tenant.startBulk(customers)["location"])
        // The request is over, so it is an item that stops there.
        try stage.failpoints.arm("before enter")
        try await stage.failpoints.reach("before enter")
        await stage.service.kill()
        stage.failpoints.disarm()
        try await tenant.setClockBack("service.bulk_deletions")

        try await stage.restart()

        try await expectOnce(tenant, customers, try await tenant.finishBulk(path))
    }

    @Test("that is stopped begins no further item, and what was under way is told truly")
    func cancelled() async throws {
        let stage = try await Stage.open(["CUSTOMERD_BULK_PER_SECOND": "20", "CUSTOMERD_RATE_LIMIT": "1000000"])
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 100)
        let path = try #require(try await tenant.startBulk(customers)["location"])
        try await eventually("some were deleted") { try await tenant.customerCount() != "100" }

        let answer = try await tenant.send(HTTPCall("DELETE", path, headers: tenant.key.headers))
        try await eventually("it was settled") {
            try await stage.database.value(
                "SELECT is_over FROM service.bulk_deletions WHERE app_id = $1", [.text(tenant.app)]) == "t"
        }

        #expect(answer.status == 200)
        let left = try #require(try await tenant.customerCount().flatMap { Int($0) })
        #expect((1..<100).contains(left))
        let state = try await tenant.send(HTTPCall("GET", path, headers: tenant.key.headers)).body
        #expect(
            state.hasSuffix(
                #""status":"CANCELLED","total":100,"deleted":\#(100 - left),"refused":0,"not_found":0,"failed":0}"#),
            "\(state)")
    }
}
