import LibPQ
import TestSupport
import Testing

/// An instance dies, or sleeps past its lease, at each step of a delivery.
@Suite("Each step of a delivery", .stages)
struct WebhookStepTests {
    /// The moments of a turn, in their order.
    enum Step: String, CaseIterable {
        case claimed = "answered claim_webhooks"
        case read = "answered events"
        case sending = "sending an event"
        case answered = "sent an event"
        case recording = "before record_deliveries"
        case recordSent = "sent record_deliveries"
        case recorded = "answered record_deliveries"
    }

    /// A webhook whose turn waits at a step.
    private struct Scene {
        let tenant: Tenant
        let receiver: WebhookReceiver
        let webhook: Tenant.Webhook
    }

    private func scene(_ stage: Stage, at step: Step) async throws -> Scene {
        let failpoints = stage.failpoints
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        // Claims are made all the time: only the next one grants something.
        try failpoints.arm("before claim_webhooks")
        try await failpoints.reach("before claim_webhooks")
        try await tenant.appendEvents(5)
        try failpoints.arm(step.rawValue)
        failpoints.resume("before claim_webhooks")
        try await failpoints.reach(step.rawValue)
        return Scene(tenant: tenant, receiver: receiver, webhook: webhook)
    }

    @Test("one that is killed there loses nothing", .timeLimit(.minutes(5)))
    func killed() async throws {
        let stage = try await Stage.open(Stage.webhookSettings, failpoints: try Failpoints())
        for step in Step.allCases {
            let scene = try await scene(stage, at: step)
            await stage.service.kill()
            stage.failpoints.disarm()
            try await stage.restart()
            let tenant = Tenant(database: stage.database, service: stage.service, key: scene.tenant.key)
            try await tenant.endWebhookLeases()
            try await tenant.appendEvents(1)

            try await tenant.awaitRest(of: scene.webhook)
            try await tenant.expectEveryEvent(in: scene.receiver.deliveries)
            // Only what isn't recorded comes again.
            let repeated = scene.receiver.deliveries.count - 6
            let most = [Step.answered: 1, .recording: 5, .recordSent: 5][step] ?? 0
            #expect((0...most).contains(repeated), "\(step): \(repeated) came again")
        }
    }

    @Test("one that sleeps past its lease doesn't disturb the one that took over", .timeLimit(.minutes(5)))
    func paused() async throws {
        let stage = try await Stage.open(Stage.webhookSettings, failpoints: try Failpoints())
        let other = try await stage.secondService()
        // It has a webhook only when the first one sleeps.
        other.pause()
        for step in Step.allCases {
            let scene = try await scene(stage, at: step)
            let tenant = scene.tenant
            stage.service.pause()
            try await tenant.endWebhookLeases()
            other.resume()
            try await tenant.appendEvents(1)
            try await tenant.awaitRest(of: scene.webhook)
            other.pause()
            let before = scene.receiver.deliveries.count

            stage.failpoints.resume(step.rawValue)
            stage.service.resume()
            try await tenant.appendEvents(1)
            try await tenant.awaitRest(of: scene.webhook)
            try await tenant.expectEveryEvent(in: scene.receiver.deliveries)
            // It delivers what it finds, until it finds out, and tells of all that it did. The last one may come by the other, too.
            #expect(scene.receiver.deliveries.count - before <= 7 + 1, "\(step)")
            try await eventually("the history told of every attempt") {
                try await tenant.history(of: scene.webhook).count == scene.receiver.deliveries.count
            }
        }
        other.resume()
    }
}
