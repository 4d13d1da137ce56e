import Foundation
import LibPQ

extension Tenant {
    /// A request about webhooks.
    ///
    /// - Parameter path: behind `/api/v0/webhooks`.
    public func askWebhooks(
        _ method: String, _ path: String = "", _ body: String? = nil, key: String? = nil
    ) async throws -> HTTPAnswer {
        let idempotency = key.map { [(name: "idempotency-key", value: $0)] } ?? []
        return try await send(
            HTTPCall(method, "/api/v0/webhooks" + path, headers: self.key.headers + idempotency, body: body))
    }

    /// A webhook that was made.
    public struct Webhook: Sendable, Decodable {
        public var id: String
        public var secret: String
    }

    /// Makes a webhook that delivers to a receiver.
    ///
    /// - Parameter members: further members of the body, as JSON, each with a comma before it.
    public func makeWebhook(to receiver: WebhookReceiver, _ members: String = "") async throws -> Webhook {
        let answer = try await askWebhooks(
            "POST", "", #"{"url":"http://127.0.0.1:\#(receiver.port)/hook"\#(members)}"#)
        guard answer.status == 201 else { throw NeverHappened("a webhook was made: \(answer)") }
        let webhook = try JSONDecoder().decode(Webhook.self, from: Data(answer.body.utf8))
        SecretLedger.shared.note(webhook.secret)
        return webhook
    }

    /// Lets the time pass until the webhooks of the app are tried again.
    public func passRetryTime() async throws {
        try await database.run("UPDATE service.webhooks SET retry_at = NULL WHERE app_id = '\(app)'")
    }

    /// Ends the leases of the app's webhooks, as time does.
    public func endWebhookLeases() async throws {
        try await database.run(
            "UPDATE service.webhooks SET lease_expires_at = clock_timestamp() WHERE app_id = '\(app)'")
    }

    /// Deletes so many customers, which are as many events.
    ///
    /// - Returns: the ids of the customers, in the order of their events.
    @discardableResult
    public func makeEvents(_ count: Int) async throws -> [String] {
        var ids: [String] = []
        for _ in 0..<count {
            let customer = try await insert()
            guard try await delete(customer.id).status == 200 else { throw NeverHappened("a customer was deleted") }
            ids.append(customer.id)
        }
        return ids
    }

    /// Appends events by the function that appends entries, many at once.
    public func appendEvents(_ count: Int) async throws {
        try await database.rows(
            """
            SELECT count(a.seq)
            FROM service.append($1, (
                SELECT jsonb_agg(jsonb_build_object(
                    'id', gen_random_uuid(), 'action', 'customer.delete', 'customer_id', gen_random_uuid(),
                    'outcome', 'SUCCEEDED'))
                FROM generate_series(1, $2::int))) AS a
            """,
            [.text(app), .int(count)])
    }
}

extension Stage {
    /// The settings of a service that delivers to receivers of this machine.
    public static let webhookSettings = [
        "CUSTOMERD_SECRETS_KEY": Data(repeating: 7, count: 32).base64EncodedString(),
        "CUSTOMERD_WEBHOOK_ALLOW": "127.0.0.1", "CUSTOMERD_RATE_LIMIT": "1000000",
    ]
}
