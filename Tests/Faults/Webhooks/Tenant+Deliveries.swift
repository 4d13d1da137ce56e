import Foundation
import LibPQ
import TestSupport
import Testing

extension Tenant {
    /// What must hold of everything that a receiver had, whatever happened: every deletion of the chain came, those that
    /// came for the first time in order, and what came twice is the same to the byte.
    func expectEveryEvent(
        in deliveries: [WebhookReceiver.Delivery], sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let events = try await database.rows(
            """
            SELECT seq, id
            FROM audit.entries
            WHERE app_id = $1 AND action = 'customer.delete' AND outcome = 'SUCCEEDED'
            ORDER BY seq
            """, [.text(app)])
        var first: [String] = []
        var seen: Set<String> = []
        for delivery in deliveries where seen.insert(delivery.id).inserted { first.append(delivery.id) }
        #expect(first == events.compactMap { $0["id"] }, "every event, in order", sourceLocation: sourceLocation)
        let ids = Dictionary(grouping: deliveries, by: \.seq).mapValues { Set($0.map(\.id)) }
        #expect(ids.allSatisfy { $0.value.count == 1 }, "an event has one id", sourceLocation: sourceLocation)
        for (id, copies) in Dictionary(grouping: deliveries, by: \.id) where Set(copies.map(\.body)).count > 1 {
            Issue.record("\(id) came with different bodies", sourceLocation: sourceLocation)
        }
    }

    /// What the history of a webhook tells, oldest first.
    func history(of webhook: Webhook) async throws -> [String] {
        try await database.rows(
            "SELECT seq FROM service.webhook_deliveries WHERE webhook_id = $1 ORDER BY number", [.text(webhook.id)]
        ).compactMap { $0["seq"] }
    }

    /// Returns once a webhook is delivered up to the end of the chain, and no instance has it any more.
    func awaitRest(of webhook: Webhook, within limit: Duration = .seconds(30)) async throws {
        try await eventually("webhook \(webhook.id) was at rest", within: limit) {
            try await database.value(
                """
                SELECT w.lease_expires_at IS NULL AND w.failures = 0 AND w.after_seq = h.seq
                FROM service.webhooks AS w
                JOIN audit.heads AS h USING (app_id)
                WHERE w.id = $1
                """, [.text(webhook.id)]) == "t"
        }
    }
}
