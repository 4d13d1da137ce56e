import TestSupport
import Testing

/// Whatever dies at whatever moment: no customer gone without an entry, no key stuck, no answer a guess.
///
/// One after the other, for what one of them terminates the others work with.
@Suite("A crash", .serialized, .stage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "1", "CUSTOMERD_RATE_LIMIT": "100000"]))
struct CrashTests {
    let stage = Stage.current

    @Test("of the service, under load, three times over")
    func service() async throws {
        var service = try await stage.secondService()
        let load = try await Load(tenant: try await stage.tenant().through(service), customers: 240)

        async let run: Void = load.run(clients: 8)
        for kill in 1...3 {
            try await eventually("the load went on", within: .seconds(60)) { load.answered >= kill * 50 }
            await service.kill()
            service = try await RunningService.start(on: stage.database, stage.settings, port: service.port)
        }
        try await run

        try await load.expectTruth()
        service.terminate()
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
    }

    @Test("of the database's sessions, again and again under load")
    func sessions() async throws {
        let load = try await Load(tenant: try await stage.tenant(), customers: 160)
        let terminate = """
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_service' AND random() < 0.5
            """

        async let run: Void = load.run(clients: 8)
        let end = ContinuousClock.now + .seconds(4)
        while !load.isDone, ContinuousClock.now < end {
            _ = try await stage.database.value(terminate)
            try await Task.sleep(for: .milliseconds(.random(in: 20...120)))
        }
        try await run

        try await load.expectTruth()
    }

    @Test("of an instance, while another takes over")
    func takeOver() async throws {
        let service = try await stage.secondService(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "6"])
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let lock = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' AND id = '\(customer.id)' FOR UPDATE")

        async let lost = try? await tenant.through(service).delete(customer.id, idempotencyKey: key)
        try await stage.database.waitUntilBlocked()
        await service.kill()
        #expect(await lost == nil)
        // The session has the whole transaction in hand and would finish it for its dead client.
        _ = try await stage.database.value(
            """
            SELECT count(pg_terminate_backend(pid))
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_service' AND wait_event_type = 'Lock'
            """)
        var early = HTTPAnswer(status: 503)
        while early.status == 503 {  // the machine may be too busy for a second's patience
            early = try await tenant.delete(customer.id, idempotencyKey: key)
        }
        try await lock.rollBack()
        var late = early
        try await eventually("the key was free", within: .seconds(30)) {
            late = try await tenant.delete(customer.id, idempotencyKey: key)
            return ![409, 503].contains(late.status)
        }

        #expect(early.status == 409)
        #expect(early["retry-after"].flatMap { Int($0) }.map { (1...30).contains($0) } == true)
        #expect(late.status == 200)
        #expect(late.body.hasPrefix(#"{"id":"\#(customer.id)""#))
        try await eventually("the trail told the whole story") {
            try await tenant.entries().contains { $0["outcome"] == "INTERRUPTED" }
        }
        let outcomes = try await tenant.entries().map { $0["outcome"] }
        #expect(outcomes.filter { $0 == "SUCCEEDED" }.count == 1)
        #expect(outcomes.filter { $0 == "INTERRUPTED" }.count == 1)
        #expect(try await tenant.entries().first { $0["outcome"] == "INTERRUPTED" }?["status_code"] == nil)
    }
}
