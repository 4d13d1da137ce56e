import LibPQ
import TestSupport
import Testing

/// Whatever dies at whatever moment: a large bulk deletion goes on, and repeats no item.
@Suite("A large bulk deletion in trouble", .serialized, .stages)
struct LargeBulkCrashTests {
    private static let settings = ["CUSTOMERD_BULK_PER_SECOND": "200", "CUSTOMERD_RATE_LIMIT": "1000000"]

    /// It is done, and all were deleted.
    private func expectAllDeleted(_ state: String, _ customers: [String], _ moment: String = "") {
        #expect(
            state.hasSuffix(
                #""status":"DONE","total":\#(customers.count),"deleted":\#(customers.count),"#
                    + #""refused":0,"not_found":0,"failed":0}"#), "\(moment): \(state)")
    }

    @Test("goes on, and repeats nothing, when its instance", arguments: BackgroundTrouble.allCases)
    func everyStep(trouble: BackgroundTrouble) async throws {
        let batch = 10
        let settings = Self.settings.merging(["CUSTOMERD_BULK_PER_SECOND": "40"]) { $1 }
        let stage = try await Stage.open(settings, failpoints: try Failpoints())
        let moments = BackgroundTrouble.moments(from: "take_bulk_items", to: "end_bulk_items")

        await trouble.atEach(of: moments, on: stage) { moment, tenant in
            let customers = try await tenant.insert(count: 4 * batch)
            // It waits for this one in its second batch, so its end doesn't come before the moment is armed. The request is
            // over by then, so it is an item that stops there.
            let holder = try await stage.database.begin(
                "SELECT FROM customers WHERE id = '\(customers[batch])' FOR UPDATE")
            let path = try #require(try await tenant.startBulk(customers)["location"])
            try await stage.database.waitUntilBlocked()
            try stage.failpoints.arm(moment)
            try await holder.rollBack()
            try await stage.failpoints.reach(moment)

            try await trouble.strike(stage, at: moment, tenant, workingOn: "service.bulk_deletions") { tenant in
                expectAllDeleted(try await tenant.finishBulk(path), customers, moment)
            }

            try await tenant.expectDeletedOnce(customers, moment)
        }
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
        for (bulk, state) in zip(bulks, states) { expectAllDeleted(state, bulk.customers) }
        try await tenant.expectDeletedOnce(bulks.flatMap(\.customers))
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
