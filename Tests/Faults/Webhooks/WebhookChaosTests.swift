import Foundation
import LibPQ
import NIOConcurrencyHelpers
import TestSupport
import Testing

/// Whatever happens to receivers, instances and the database: every event arrives, in order, and repetitions tell that they
/// are some.
///
/// `CUSTOMERD_TEST_WEBHOOK_EVENTS` is the number of events, `CUSTOMERD_TEST_WEBHOOK_SEED` decides the faults.
@Suite("Deliveries under random faults", .stages)
struct WebhookChaosTests {
    private static func number<Number: FixedWidthInteger>(_ name: String) -> Number? {
        ProcessInfo.processInfo.environment["CUSTOMERD_TEST_WEBHOOK_\(name)"].flatMap { Number($0) }
    }

    /// What is done to the service and its database.
    private enum ReceiverFault: String, CaseIterable {
        case none, kill, pause, terminate, cut, stall, restart, fight, down, replay, rotate
    }

    @Test("every event comes, in order, and those that come twice have the same id", .timeLimit(.minutes(30)))
    func random() async throws {
        let seed: UInt64 = Self.number("SEED") ?? .random(in: .min ... .max)
        let count: Int = Self.number("EVENTS") ?? 1_000
        print("faults of webhooks: seed \(seed)")
        let scene = try await Scene(seed: seed)
        var faults = SeededGenerator(seed: seed &+ 1)
        // All of them, in a random order, and again.
        var coming: [ReceiverFault] = []
        var (appended, happened) = (0, [ReceiverFault: Int]())
        while appended < count {
            let part = min(100, count - appended)
            try await scene.tenant.appendEvents(part)
            appended += part
            if coming.isEmpty { coming = ReceiverFault.allCases.shuffled(using: &faults) }
            let fault = coming.removeLast()
            happened[fault, default: 0] += 1
            try await scene.cause(fault, &faults)
            // Faults hit a delivery that runs, and not one only.
            try await scene.awaitArrivals(appended - part * Int.random(in: 1...9, using: &faults) / 10)
        }

        scene.calm()
        try await scene.awaitArrivals(count)
        try await scene.tenant.expectEveryEvent(in: scene.receiver.deliveries)
        let repeated = scene.receiver.deliveries.count - count
        let told = happened.sorted { $0.key.rawValue < $1.key.rawValue }.map { "\($0.key.rawValue) \($0.value)" }
        print(
            """
            faults of webhooks: seed \(seed): \(count) events, \(repeated) repetitions; \(told.joined(separator: ", ")); \
            answers \(scene.answers)
            """)
    }

    /// Two instances, one of them behind a gate, and a receiver with moods.
    private final class Scene: Sendable {
        let stage: Stage
        let tenant: Tenant
        let receiver: WebhookReceiver
        private let webhook: Tenant.Webhook
        private let other: NIOLockedValueBox<RunningService>
        private let isCalm = NIOLockedValueBox(false)
        private let counts = NIOLockedValueBox([String: Int]())

        init(seed: UInt64) async throws {
            let settings = Stage.webhookSettings.merging(["CUSTOMERD_POOL_SIZE": "4"]) { $1 }
            stage = try await Stage.open(settings, in: .ownCluster(), through: .gate)
            tenant = try await stage.tenant()
            receiver = try await WebhookReceiver()
            webhook = try await tenant.makeWebhook(to: receiver)
            other = NIOLockedValueBox(try await stage.secondService())
            let moods = NIOLockedValueBox(SeededGenerator(seed: seed))
            receiver.react { [isCalm, counts] _ in
                if isCalm.withLockedValue({ $0 }) { return .answer(200) }
                let (reaction, name) = Self.reaction(to: moods.withLockedValue { Int.random(in: 0..<400, using: &$0) })
                counts.withLockedValue { $0[name, default: 0] += 1 }
                return reaction
            }
        }

        private static func reaction(to number: Int) -> (WebhookReceiver.Reaction, name: String) {
            switch number {
            case 0: (.answer(500), "500")
            case 1: (.answer(429, headers: [("retry-after", "1")]), "429")
            case 2: (.answer(301, headers: [("location", "/elsewhere")]), "301")
            case 3: (.answer(410), "410")
            case 4: (.hangUp, "hung up")
            case 5: (.breakOff, "broke off")
            case 6: (.flood(bytes: 200_000), "flood")
            case 7: (.headers(bytes: 90_000), "headers")
            case 8...10: (.later(.milliseconds(200), 200), "slow")
            default: (.answer(200), "200")
            }
        }

        var answers: String {
            counts.withLockedValue { $0 }.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
                .joined(separator: ", ")
        }

        func calm() {
            isCalm.withLockedValue { $0 = true }
        }

        /// Returns once so many events have come, however often. The time until something is tried again is let pass, and a
        /// webhook that was disabled is enabled.
        func awaitArrivals(_ count: Int) async throws {
            try await eventually("\(count) events came", within: .seconds(90)) {
                try await tenant.passRetryTime()
                let status = "SELECT status FROM service.webhooks WHERE id = $1"
                if try await tenant.database.value(status, [.text(webhook.id)]) == "DISABLED" {
                    try await manage("PATCH", "", #"{"status":"ENABLED"}"#)
                }
                return Set(receiver.deliveries.map(\.id)).count >= count
            }
        }

        /// A request that is made again while the database is away.
        private func manage(_ method: String, _ path: String, _ body: String) async throws {
            try await eventually("\(method) \(path) was answered", within: .seconds(60)) {
                let answer = try await tenant.askWebhooks(method, "/\(webhook.id)\(path)", body)
                let rotated = try? JSONDecoder().decode(Tenant.Webhook.self, from: Data(answer.body.utf8))
                if let rotated { SecretLedger.shared.note(rotated.secret) }
                return answer.status == 200
            }
        }

        func cause(_ fault: ReceiverFault, _ faults: inout SeededGenerator) async throws {
            let moment = Duration.milliseconds(Int.random(in: 50...1500, using: &faults))
            switch fault {
            case .none: break
            case .kill:
                await other.withLockedValue { $0 }.kill()
                let next = try await stage.secondService()
                other.withLockedValue { $0 = next }
                // Nothing holds these leases any more.
                try await tenant.endWebhookLeases()
            case .pause:
                let paused = Bool.random(using: &faults) ? stage.service : other.withLockedValue { $0 }
                paused.pause()
                try await tenant.endWebhookLeases()
                try await Task.sleep(for: moment)
                paused.resume()
            case .terminate:
                try await tenant.database.run(
                    """
                    SELECT pg_terminate_backend(pid)
                    FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = 'customerd_service'
                    """)
            case .cut: stage.gate.cut()
            case .stall:
                if Bool.random(using: &faults) { stage.gate.holdReplies() } else { stage.gate.holdRequests() }
                // At times longer than a statement is waited for.
                try await Task.sleep(for: moment * 4)
                stage.gate.release()
            case .restart:
                let cluster = stage.database.cluster
                let mode = Bool.random(using: &faults) ? "fast" : "immediate"
                try await aside { try cluster.stop(mode: mode) }
                try await aside { try cluster.start() }
            // Two instances at one webhook.
            case .fight: try await tenant.endWebhookLeases()
            case .down:
                receiver.stop()
                try await Task.sleep(for: moment)
                try await receiver.listen()
            case .replay:
                let after = receiver.deliveries.last?.seq.map { max(0, $0 - 50) } ?? 0
                try await manage("POST", "/replay", #"{"after":\#(after)}"#)
            case .rotate: try await manage("POST", "/rotate-secret", #"{"overlap_seconds":60}"#)
            }
        }
    }
}
