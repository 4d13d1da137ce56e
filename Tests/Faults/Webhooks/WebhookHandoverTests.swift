import TestSupport
import Testing

@Suite("Deliveries by instances that end", .serialized, .stages)
struct WebhookHandoverTests {
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
        try await tenant.expectEveryEvent(in: receiver.deliveries)
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
        try await tenant.expectEveryEvent(in: receiver.deliveries)
    }
}
