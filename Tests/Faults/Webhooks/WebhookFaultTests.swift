import Foundation
import LibPQ
import NIOConcurrencyHelpers
import TestSupport
import Testing

/// Whatever happens to receivers, instances and the database: every event arrives, in order, and repetitions tell that they
/// are some.
@Suite("Deliveries under faults", .serialized, .stages)
struct WebhookFaultTests {
    /// What must hold of everything that a receiver had.
    private func expectTruth(
        _ deliveries: [WebhookReceiver.Delivery], of tenant: Tenant, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let events = try await tenant.database.rows(
            """
            SELECT seq, id
            FROM audit.entries
            WHERE app_id = $1 AND action = 'customer.delete' AND outcome = 'SUCCEEDED'
            ORDER BY seq
            """, [.text(tenant.app)])
        var first: [String] = []
        var seen: Set<String> = []
        for delivery in deliveries where seen.insert(delivery.id).inserted { first.append(delivery.id) }
        #expect(first == events.compactMap { $0["id"] }, "every event, in order", sourceLocation: sourceLocation)
        for (id, copies) in Dictionary(grouping: deliveries, by: \.id) where Set(copies.map(\.body)).count > 1 {
            Issue.record("\(id) came with different bodies", sourceLocation: sourceLocation)
        }
    }

    @Test("what an instance that dies had begun, another finishes within 30 seconds", .timeLimit(.minutes(3)))
    func takeOver() async throws {
        let stage = try await Stage.open(Stage.webhookSettings)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .silence }
        _ = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(3)
        try await eventually("a delivery began") { receiver.deliveries.count == 1 }
        receiver.react { _ in .answer(200) }
        await stage.service.kill()
        let killed = ContinuousClock.now

        _ = try await stage.secondService()

        try await eventually("all came", within: .seconds(60)) { receiver.deliveries.compactMap(\.seq).last == 4 }
        let pause = ContinuousClock.now - killed
        #expect(pause < .seconds(30), "taken over after \(pause)")
        try await expectTruth(receiver.deliveries, of: tenant)
    }

    @Test("one that stops hands over at once", .timeLimit(.minutes(3)))
    func handOver() async throws {
        let stage = try await Stage.open(Stage.webhookSettings)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .silence }
        _ = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(2)
        try await eventually("a delivery began") { receiver.deliveries.count == 1 }
        receiver.react { _ in .answer(200) }
        let start = ContinuousClock.now
        stage.service.terminate()
        #expect(await stage.service.exitStatus(within: .seconds(10)) == 0)

        _ = try await stage.secondService()

        try await eventually("all came") { receiver.deliveries.count == 3 }
        #expect(ContinuousClock.now - start < .seconds(20))
        try await expectTruth(receiver.deliveries, of: tenant)
    }

    @Test("random faults lose nothing", .timeLimit(.minutes(5)), arguments: [UInt64.random(in: .min ... .max)])
    func random(seed: UInt64) async throws {
        print("faults of webhooks: seed \(seed)")
        let count = 3_000
        var settings = Stage.webhookSettings
        settings["CUSTOMERD_POOL_SIZE"] = "4"
        let stage = try await Stage.open(settings)
        let tenant = try await stage.tenant()
        let moods = NIOLockedValueBox(SeededGenerator(seed: seed))
        let isCalm = NIOLockedValueBox(false)
        let receiver = try await WebhookReceiver { _ in
            if isCalm.withLockedValue({ $0 }) { return .answer(200) }
            let number = moods.withLockedValue { Int.random(in: 0..<400, using: &$0) }
            switch number {
            case 0: return .answer(500)
            case 1: return .answer(429, headers: [("retry-after", "1")])
            case 2: return .answer(301, headers: [("location", "/elsewhere")])
            case 3: return .hangUp
            case 4: return .breakOff
            case 5: return .flood(bytes: 200_000)
            case 6: return .later(.milliseconds(200), 200)
            default: return .answer(200)
            }
        }
        _ = try await tenant.makeWebhook(to: receiver)
        var saboteur = SeededGenerator(seed: seed &+ 1)
        var further = try await stage.secondService()
        var appended = 0
        for _ in 1...6 {
            try await tenant.appendEvents(count / 6)
            appended += count / 6
            switch Int.random(in: 0..<4, using: &saboteur) {
            case 0:
                await further.kill()
                further = try await stage.secondService()
                // Nothing holds these leases any more.
                try await tenant.database.run("UPDATE service.webhooks SET lease_expires_at = NULL")
            case 1:
                try await tenant.database.run(
                    """
                    SELECT pg_terminate_backend(pid)
                    FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'customerd_service'
                    """)
            case 2:
                // Two instances at one webhook.
                try await tenant.database.run("UPDATE service.webhooks SET lease_expires_at = NULL")
            default: break
            }
            let reached = min(Set(receiver.deliveries.map(\.id)).count + count / 12, appended)
            try await eventually("it went on", within: .seconds(60)) {
                try await tenant.passRetryTime()
                return Set(receiver.deliveries.map(\.id)).count >= reached
            }
        }
        isCalm.withLockedValue { $0 = true }

        try await eventually("all came", within: .seconds(90)) {
            try await tenant.passRetryTime()
            return Set(receiver.deliveries.map(\.id)).count == count
        }
        try await expectTruth(receiver.deliveries, of: tenant)
        let repeated = receiver.deliveries.count - count
        print("faults of webhooks: \(count) events, \(repeated) repetitions, seed \(seed)")
    }
}
