import LibPQ
import TestSupport
import Testing

/// Whatever dies at whatever moment, or however the clock steps: a scheduled deletion happens once.
@Suite("A scheduled deletion in trouble", .serialized, .stages)
struct ScheduleCrashTests {
    private func open(_ failpoints: Failpoints? = nil) async throws -> Stage {
        try await Stage.open(["CUSTOMERD_RATE_LIMIT": "100000"], failpoints: failpoints)
    }

    private func schedule(_ tenant: Tenant, _ customer: String, in interval: String = "1 hour") async throws -> Int {
        let at = try #require(
            try await tenant.database.value(
                "SELECT service.rfc3339(clock_timestamp() + $1::interval)", [.text(interval)]))
        return try await tenant.ask("PUT", "/\(customer)/scheduled-deletion", #"{"at":"\#(at)"}"#).status
    }

    private func makeDue(_ tenant: Tenant) async throws {
        try await tenant.database.rows(
            """
            UPDATE service.scheduled_deletions
            SET delete_at = clock_timestamp() - interval '1 s', try_after = clock_timestamp() - interval '1 s'
            WHERE app_id = $1
            """, [.text(tenant.app)])
    }

    private func statuses(_ tenant: Tenant) async throws -> Set<String> {
        Set(
            try await tenant.database.rows(
                "SELECT status FROM service.scheduled_deletions WHERE app_id = $1", [.text(tenant.app)]
            ).compactMap { $0["status"] })
    }

    @Test("happens once when its instance", arguments: BackgroundTrouble.allCases)
    func everyStep(trouble: BackgroundTrouble) async throws {
        let stage = try await open(try Failpoints())
        let moments = BackgroundTrouble.moments(from: "take_due_deletions", to: "end_scheduled_deletion")

        await trouble.atEach(of: moments, on: stage) { moment, tenant in
            let customer = try await tenant.insert()
            #expect(try await schedule(tenant, customer.id) == 202)
            try stage.failpoints.arm(moment)
            try await makeDue(tenant)
            try await stage.failpoints.reach(moment)

            try await trouble.strike(stage, at: moment, tenant, workingOn: "service.scheduled_deletions") { tenant in
                try await eventually("the deletion was done", within: .seconds(40)) {
                    try await statuses(tenant) == ["DELETED"]
                }
            }

            try await tenant.expectDeletedOnce([customer.id], moment)
        }
    }

    @Test("is refused once when its instance is killed between the refusal and its entry")
    func killedWhileRefused() async throws {
        let stage = try await open(try Failpoints())
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: customer.id)
        #expect(try await schedule(tenant, customer.id) == 202)
        try stage.failpoints.arm("worked")
        try await makeDue(tenant)
        try await stage.failpoints.reach("worked")
        await stage.service.kill()
        stage.failpoints.disarm()
        try await tenant.setClock("service.scheduled_deletions", by: "1 hour")

        try await stage.restart()

        try await eventually("the deletion was refused", within: .seconds(40)) {
            try await statuses(tenant) == ["REFUSED"]
        }
        let outcomes = try await tenant.entries().filter { $0["action"] == "customer.delete" }.map { $0["outcome"] }
        #expect(outcomes == ["INTERRUPTED", "REFUSED"])
        #expect(try await tenant.hasCustomer(customer.id))
    }

    @Test("happens once, whichever of three instances takes it")
    func instances() async throws {
        let stage = try await open()
        let tenant = try await stage.tenant()
        for _ in 1...2 { _ = try await stage.secondService() }
        let customers = try await tenant.insert(count: 120)
        let scheduled = try await simultaneously(120) { try await schedule(tenant, customers[$0]) }
        #expect(Set(scheduled) == [202])

        try await makeDue(tenant)

        try await eventually("all were deleted", within: .seconds(60)) { try await statuses(tenant) == ["DELETED"] }
        // Not again, when their time has come once more.
        try await makeDue(tenant)
        let later = try await tenant.insert().id
        #expect(try await schedule(tenant, later, in: "1 s") == 202)
        try await eventually("another one was done") { try await statuses(tenant) == ["DELETED"] }
        try await tenant.expectDeletedOnce(customers + [later])
    }

    @Test("doesn't happen when it is moved or called off while it is about to", arguments: ["PUT", "DELETE"])
    func moved(method: String) async throws {
        let stage = try await open(try Failpoints())
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        #expect(try await schedule(tenant, customer.id) == 202)
        try stage.failpoints.arm("before enter")
        try await makeDue(tenant)
        try await stage.failpoints.reach("before enter")
        let second = tenant.through(try await stage.secondService())
        let status =
            method == "PUT"
            ? try await schedule(second, customer.id)
            : try await second.ask("DELETE", "/\(customer.id)/scheduled-deletion").status
        stage.failpoints.resume("before enter")

        #expect(status == (method == "PUT" ? 202 : 200))
        try await eventually("the interrupted attempt had its entry") {
            try await tenant.entries().contains { $0["outcome"] == "INTERRUPTED" }
        }
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await statuses(tenant) == [method == "PUT" ? "SCHEDULED" : "CANCELLED"])
    }
}
