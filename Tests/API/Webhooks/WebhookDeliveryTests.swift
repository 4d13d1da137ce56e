import Foundation
import LibPQ
import NIOConcurrencyHelpers
import TestSupport
import Testing

@Suite("Deliveries of webhooks", .stage(Stage.webhookSettings))
struct WebhookDeliveryTests {
    private let stage = Stage.current

    /// The seqs that have come, without repetitions.
    private func arrived(_ receiver: WebhookReceiver) -> [Int] {
        receiver.deliveries.compactMap(\.seq).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    @Test("each event that comes after a webhook is delivered, in order, and as the API tells it")
    func order() async throws {
        let tenant = try await stage.tenant()
        try await tenant.makeEvents(2)
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        let ids = try await tenant.makeEvents(5)
        try await eventually("all came") { receiver.deliveries.count >= 5 }

        #expect(receiver.deliveries.map { $0["customer_id"] } == ids)
        let page = try await tenant.get("/api/v0/events", [("after", "2")])
        let bodies = receiver.deliveries.map(\.body).joined(separator: ",")
        #expect(page.body.hasPrefix("{\"data\":[\(bodies)],"))
        for delivery in receiver.deliveries {
            #expect(delivery.path == "/hook")
            #expect(delivery.id == delivery["id"])
            #expect(delivery.header("content-type") == "application/json")
            #expect(delivery.signatures.count == 1)
        }
        try await eventually("the history tells of them") {
            try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries").data.count == 5
        }
        let history = try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries")
        #expect(try history.column("seq") == receiver.deliveries.map { $0["seq"] }.reversed())
        #expect(try history.column("status_code") == Array(repeating: "200", count: 5))
        #expect(try history.column("attempt") == Array(repeating: "1", count: 5))
    }

    @Test("only the types that it wants are sent")
    func types() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        _ = try await tenant.makeWebhook(to: receiver, #","types":["customer.created"]"#)

        try await tenant.makeEvents(2)
        _ = try await tenant.create(#"{"first_name":"Ann","last_name":"Lee","phone_number":"1"}"#)

        try await eventually("the creation came") { !receiver.deliveries.isEmpty }
        #expect(receiver.deliveries.map { $0["type"] } == ["customer.created"])
    }

    @Test("a receiver that sends a body where there can be none is understood, event after event")
    func bodyOfNoContent() async throws {
        let tenant = try await stage.tenant()
        // The receiver adds a body to any status.
        let receiver = try await WebhookReceiver { _ in .answer(204) }
        let webhook = try await tenant.makeWebhook(to: receiver)

        try await tenant.makeEvents(20)

        try await eventually("all were recorded") {
            try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries").data.count >= 20
        }
        let history = try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries")
        #expect(try history.column("status_code") == Array(repeating: "204", count: 20))
        #expect(arrived(receiver).count == 20)
    }

    static let failures: [(WebhookReceiver.Reaction, status: String?, error: String)] = [
        (.answer(500), "500", "the receiver answered 500"),
        (.answer(302, headers: [("location", "http://127.0.0.1:1/")]), "302", "redirects aren't followed"),
        (.answer(429, headers: [("retry-after", "1")]), "429", "the receiver answered 429"),
        (.hangUp, nil, "the connection ended before the answer was whole"),
        (.breakOff, nil, "the connection ended before the answer was whole"),
        (.headers(bytes: 90_000), nil, "the headers of the answer are longer than 64 KiB"),
    ]

    @Test("what fails is tried again until it succeeds, before anything later", arguments: failures.indices)
    func failure(index: Int) async throws {
        let (reaction, status, error) = Self.failures[index]
        let tenant = try await stage.tenant()
        // The first two fail, whoever has them sent: the clock or the test.
        let failing = NIOLockedValueBox(2)
        let receiver = try await WebhookReceiver { _ in
            failing.withLockedValue { left in
                left -= 1
                return left >= 0 ? reaction : .answer(204)
            }
        }
        let webhook = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(3)
        for count in 1...2 {
            try await eventually("attempt \(count) was recorded") {
                try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries").data.count >= count
            }
            try await tenant.passRetryTime()
        }
        try await eventually("all came") { arrived(receiver).count == 3 }

        let first = try #require(receiver.deliveries.first)
        #expect(receiver.deliveries.prefix(3).map(\.id) == [first.id, first.id, first.id])
        #expect(arrived(receiver) == arrived(receiver).sorted())
        try await eventually("the successes were recorded", within: .seconds(45)) {
            try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries").data.count == 5
        }
        let history = try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries")
        #expect(try history.column("status_code") == ["204", "204", "204", status, status])
        #expect(try history.column("error") == [nil, nil, nil, error, error])
        #expect(try history.column("attempt") == ["1", "1", "3", "2", "1"])
    }

    @Test("a receiver that is down is tried again when it is up")
    func down() async throws {
        let tenant = try await stage.tenant()
        let first = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: first)
        first.stop()
        try await tenant.makeEvents(1)
        try await eventually("it failed") {
            try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries").column("error") == [
                "the connection failed"
            ]
        }

        let receiver = try await WebhookReceiver(port: first.port)
        try await tenant.passRetryTime()

        try await eventually("the event came") { receiver.deliveries.count == 1 }
    }

    @Test("the pauses between attempts grow, and Retry-After makes them longer")
    func pauses() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .answer(503) }
        let webhook = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(1)
        func pause(_ failures: Int) async throws -> Double {
            try await eventually("attempt \(failures) failed") {
                try await tenant.database.value(
                    "SELECT failures FROM service.webhooks WHERE id = $1", [.text(webhook.id)]) == "\(failures)"
            }
            let seconds = try await tenant.database.value(
                """
                SELECT extract(epoch FROM retry_at - max(d.at))
                FROM service.webhooks AS w
                JOIN service.webhook_deliveries AS d ON d.webhook_id = w.id
                WHERE w.id = $1
                GROUP BY w.retry_at
                """, [.text(webhook.id)])
            if failures == 4 { receiver.react { _ in .answer(429, headers: [("retry-after", "2500")]) } }
            try await tenant.passRetryTime()
            return Double(seconds ?? "") ?? -1
        }

        // A fifth more or less, and some time between an attempt and its record.
        let ranges = [3.9...16, 23.9...46, 95.9...154, 479.9...730, 2499...2510]
        for (index, range) in ranges.enumerated() {
            let seconds = try await pause(index + 1)
            #expect(range.contains(seconds), "attempt \(index + 1)")
        }
    }

    @Test("410 disables it, with an entry; enabled again it goes on where it stopped")
    func gone() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .answer(410) }
        let webhook = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(2)
        try await eventually("it was disabled") {
            try await tenant.askWebhooks("GET", "/\(webhook.id)").object["status"] as? String == "DISABLED"
        }
        let entry = try #require(try await tenant.entries().last)
        #expect([entry["action"], entry["outcome"]] == ["webhook.disable", "SUCCEEDED"])
        #expect([entry.request("webhook"), entry.request("cause")] == [webhook.id, "gone"])
        #expect(try await figure("customerd_webhooks_disabled_total") ?? 0 >= 1)

        receiver.react { _ in .answer(200) }
        _ = try await tenant.askWebhooks("PATCH", "/\(webhook.id)", #"{"status":"ENABLED"}"#)

        try await eventually("both came") { arrived(receiver).count == 2 }
        #expect(receiver.deliveries.count == 3)
    }

    /// A figure that the instance tells Prometheus; nil before there is one.
    private func figure(_ series: String) async throws -> Double? {
        let text = try await HTTPCall("GET", "/metrics").send(to: stage.service.port).body
        let line = text.split(separator: "\n").first { $0.hasPrefix(series + " ") }
        return line.flatMap { Double($0.dropFirst(series.count + 1)) }
    }

    @Test("metrics count deliveries by their result, and tell how long the oldest event has waited")
    func metrics() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .answer(500) }
        _ = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(1)

        try await eventually("the failure was counted") {
            try await figure(#"customerd_webhook_deliveries_total{result="failed"}"#) ?? 0 >= 1
        }
        try await eventually("it is told of") {
            let (lag, failing) = (
                try await figure("customerd_webhook_lag_seconds"), try await figure("customerd_webhooks_failing")
            )
            return lag ?? 0 > 0 && failing ?? 0 >= 1
        }
        receiver.react { _ in .answer(200) }
        try await tenant.passRetryTime()
        try await eventually("the success was counted") {
            try await figure(#"customerd_webhook_deliveries_total{result="delivered"}"#) ?? 0 >= 1
        }
    }

    @Test("three days without a success disable it; enabled again it goes on where it stopped")
    func patience() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .answer(500) }
        let webhook = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(1)
        try await eventually("that was recorded") {
            try await tenant.database.value(
                "SELECT failures > 0 FROM service.webhooks WHERE id = $1", [.text(webhook.id)]) == "t"
        }

        try await tenant.database.run(
            """
            UPDATE service.webhooks
            SET failing_since = failing_since - interval '3 days', retry_at = NULL
            WHERE id = '\(webhook.id)'
            """)

        try await eventually("it was disabled") {
            try await tenant.askWebhooks("GET", "/\(webhook.id)").object["status"] as? String == "DISABLED"
        }
        #expect(try await tenant.entries().last?.request("cause") == "failing")

        let came = receiver.deliveries.count
        receiver.react { _ in .answer(200) }
        _ = try await tenant.askWebhooks("PATCH", "/\(webhook.id)", #"{"status":"ENABLED"}"#)

        try await eventually("the event came once more") { receiver.deliveries.count == came + 1 }
        #expect(Set(receiver.deliveries.map(\.id)).count == 1)
    }

    @Test("one that was disabled has nothing, until it is enabled")
    func disabled() async throws {
        let tenant = try await stage.tenant()
        let (receiver, other) = (try await WebhookReceiver(), try await WebhookReceiver())
        let webhook = try await tenant.makeWebhook(to: receiver)
        _ = try await tenant.makeWebhook(to: other)
        _ = try await tenant.askWebhooks("PATCH", "/\(webhook.id)", #"{"status":"DISABLED"}"#)
        try await tenant.makeEvents(2)
        try await eventually("the other had them") { other.deliveries.count == 2 }
        #expect(receiver.deliveries.isEmpty)

        _ = try await tenant.askWebhooks("PATCH", "/\(webhook.id)", #"{"status":"ENABLED"}"#)

        try await eventually("they came") { receiver.deliveries.count == 2 }
    }

    @Test("a replay sends what came before once more, with the same ids")
    func replay() async throws {
        let tenant = try await stage.tenant()
        try await tenant.makeEvents(2)
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        try await tenant.makeEvents(1)
        try await eventually("the last came") { receiver.deliveries.count == 1 }

        let answer = try await tenant.askWebhooks("POST", "/\(webhook.id)/replay", #"{"after":0}"#)

        #expect(answer.status == 200)
        try await eventually("all came") { receiver.deliveries.count == 4 }
        #expect(receiver.deliveries.map(\.seq) == [4, 1, 2, 4])
        #expect(receiver.deliveries[0].id == receiver.deliveries[3].id)
        #expect(try await tenant.askWebhooks("POST", "/\(webhook.id)/replay", "{}").status == 400)
    }

    @Test("a replay to a later place skips what lies before it")
    func skipping() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        _ = try await tenant.askWebhooks("PATCH", "/\(webhook.id)", #"{"status":"DISABLED"}"#)
        // Behind the entries of the two changes.
        try await tenant.appendEvents(3)
        _ = try await tenant.askWebhooks("POST", "/\(webhook.id)/replay", #"{"after":4}"#)

        _ = try await tenant.askWebhooks("PATCH", "/\(webhook.id)", #"{"status":"ENABLED"}"#)

        try await eventually("the last came") { receiver.deliveries.count == 1 }
        #expect(receiver.deliveries.map(\.seq) == [5])
    }

    @Test("a receiver that is slow delays no other", .timeLimit(.minutes(2)))
    func slow() async throws {
        let tenant = try await stage.tenant()
        let (slow, fast) = (try await WebhookReceiver { _ in .silence }, try await WebhookReceiver())
        for _ in 1...10 { _ = try await tenant.makeWebhook(to: slow) }
        let webhook = try await tenant.makeWebhook(to: fast)
        try await tenant.makeEvents(1)
        try await eventually("the slow ones are waited for") { slow.deliveries.count == 10 }
        let start = ContinuousClock.now
        try await tenant.makeEvents(3)

        try await eventually("the fast one had all") { fast.deliveries.count == 4 }
        #expect(ContinuousClock.now - start < .seconds(10))
        try await eventually("the silence was a failure", within: .seconds(40)) {
            try await tenant.database.value(
                "SELECT count(*) FROM service.webhooks WHERE app_id = $1 AND failures > 0", [.text(tenant.app)]) == "10"
        }
        #expect(slow.deliveries.count == 10)
        let waited = try await tenant.database.value(
            "SELECT min(duration_ms) FROM service.webhook_deliveries WHERE app_id = $1 AND webhook_id <> $2::uuid",
            [.text(tenant.app), .text(webhook.id)])
        #expect((15_000...20_000).contains(Int(waited ?? "") ?? 0))
    }

    @Test("an answer without end is read no further than it has to be")
    func flood() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .flood(bytes: 20_000_000) }
        _ = try await tenant.makeWebhook(to: receiver)
        let before = try stage.service.figures.residentKiB

        try await tenant.makeEvents(3)

        try await eventually("all came") { arrived(receiver).count == 3 }
        if ProcessFigures.tellOfMemory {
            #expect(try stage.service.figures.residentKiB - before < 20_000)
        }
    }

    @Test("the history keeps the last thousand attempts")
    func history() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)

        try await tenant.appendEvents(1_100)

        try await eventually("all were recorded", within: .seconds(60)) {
            try await tenant.database.value(
                "SELECT deliveries FROM service.webhooks WHERE id = $1", [.text(webhook.id)]) == "1100"
        }
        let history = try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries?limit=1000")
        let seqs = try history.column("seq").compactMap { $0.flatMap { Int($0) } }
        let last = try #require(receiver.deliveries.last?.seq)
        #expect(seqs == Array((last - 999...last).reversed()))
        #expect(arrived(receiver).count == 1_100)
    }
}
