import LibPQ
import TestSupport
import Testing

/// The database goes away just when an instance says what it delivered, or asks what it may deliver.
@Suite("Records of deliveries without a database", .stages)
struct WebhookRecordTests {
    /// What happens to a record.
    enum RecordFault: String, CaseIterable {
        /// The database has it only after the instance has given up waiting, and tries again.
        case late
        /// The database has it at once, and the answer is lost that way.
        case unanswered
        /// The connection ends before the database has it.
        case cutBefore
        /// The connection ends after the database had it.
        case cutAfter

        var holdsRequest: Bool { self == .late || self == .cutBefore }
        var isCut: Bool { self == .cutBefore || self == .cutAfter }
    }

    @Test(
        "what was delivered is recorded as soon as it can be, and neither made nor recorded again",
        .timeLimit(.minutes(3)), arguments: RecordFault.allCases)
    func record(fault: RecordFault) async throws {
        let stage = try await Stage.open(Stage.webhookSettings, through: .gate)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        // Of what was delivered. The statement's own text isn't sent again once a turn without events, as the entry of
        // the webhook itself leads to, has prepared it.
        let record = "\"ago_ms\":"
        let sighting =
            fault.holdsRequest
            ? stage.gate.holdRequests(whenRequestContains: record)
            : stage.gate.holdReplies(whenRequestContains: record)

        try await tenant.appendEvents(3)
        await sighting.wait()
        if fault.isCut {
            stage.cut()
        } else {
            // Longer than a record waits for its answer.
            try await eventually("the instance gave up waiting") {
                stage.service.log.contains("deliveries of a webhook")
            }
            stage.gate.release()
        }
        try await tenant.appendEvents(1)

        // Far less than the rest of a lease.
        try await tenant.awaitRest(of: webhook, within: .seconds(12))
        #expect(receiver.deliveries.map(\.seq) == [2, 3, 4, 5])
        #expect(try await tenant.history(of: webhook) == ["2", "3", "4", "5"])
        #expect(
            try await tenant.database.value(
                "SELECT deliveries FROM service.webhooks WHERE id = $1", [.text(webhook.id)]) == "4")
    }

    @Test(
        "a restart of the database makes nothing come again", .timeLimit(.minutes(3)), arguments: ["fast", "immediate"])
    func restart(mode: String) async throws {
        let failpoints = try Failpoints()
        let stage = try await Stage.open(Stage.webhookSettings, in: .ownCluster(), failpoints: failpoints)
        let (tenant, cluster) = (try await stage.tenant(), stage.database.cluster)
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        try failpoints.arm("before record_deliveries")
        try await tenant.appendEvents(3)
        try await failpoints.reach("before record_deliveries")

        try await aside { try cluster.stop(mode: mode) }
        failpoints.resume("before record_deliveries")
        try await eventually("the record failed") { stage.service.log.contains("deliveries of a webhook") }
        try await aside { try cluster.start() }

        try await tenant.awaitRest(of: webhook)
        #expect(receiver.deliveries.map(\.seq) == [2, 3, 4])
        #expect(try await tenant.history(of: webhook) == ["2", "3", "4"])
    }

    @Test("what was delivered is recorded although the next page can't be read", .timeLimit(.minutes(3)))
    func page() async throws {
        let failpoints = try Failpoints()
        let stage = try await Stage.open(Stage.webhookSettings, failpoints: failpoints)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        try failpoints.arm("sent an event")
        // Of a page and a half.
        try await tenant.appendEvents(150)
        try await failpoints.reach("sent an event")
        try failpoints.arm("before events")
        failpoints.resume("sent an event")
        try await failpoints.reach("before events")

        try await tenant.database.run(
            """
            SELECT pg_terminate_backend(pid)
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_service'
            """)
        failpoints.resume("before events")

        try await tenant.awaitRest(of: webhook, within: .seconds(12))
        #expect(receiver.deliveries.compactMap(\.seq) == Array(2...151))
        #expect(try await tenant.history(of: webhook).count == 150)
    }

    @Test("what a claim whose answer was lost has granted is delivered without delay", .timeLimit(.minutes(3)))
    func claim() async throws {
        let failpoints = try Failpoints()
        let stage = try await Stage.open(Stage.webhookSettings, through: .gate, failpoints: failpoints)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        try failpoints.arm("before claim_webhooks")
        try await failpoints.reach("before claim_webhooks")
        try await tenant.appendEvents(1)
        stage.gate.holdReplies()
        failpoints.resume("before claim_webhooks")
        try await eventually("the claim was granted") {
            try await tenant.database.value(
                "SELECT lease_expires_at IS NOT NULL FROM service.webhooks WHERE id = $1", [.text(webhook.id)]) == "t"
        }

        stage.cut()

        try await tenant.awaitRest(of: webhook, within: .seconds(12))
        #expect(receiver.deliveries.map(\.seq) == [2])
    }
}
