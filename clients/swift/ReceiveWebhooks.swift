import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import Logging

/// Receives webhooks: verifies each, skips repetitions, and answers only when it is done. See docs/webhooks.md.
@main
struct ReceiveWebhooks {
    static let usage = "usage: WEBHOOK_SECRET=whsec_… receive-webhooks PORT\n"
    static let largestBody = 64 * 1024

    static func main() async throws {
        guard CommandLine.arguments.count == 2, let port = Int(CommandLine.arguments[1]),
            let secret = ProcessInfo.processInfo.environment["WEBHOOK_SECRET"],
            let signature = Signature(secret: secret)
        else {
            FileHandle.standardError.write(Data(usage.utf8))
            exit(2)
        }
        let inbox = Inbox()
        let responder = CallbackResponder { (request: Request, _: BasicRequestContext) in
            let body = try await request.body.collect(upTo: largestBody)
            guard signature.isAuthentic(Data(body.readableBytesView), request.headers) else {
                return Response(status: .unauthorized)
            }
            // What throws is a 500, and the event comes again.
            try await inbox.carryOut(JSONDecoder().decode(Event.self, from: Data(body.readableBytesView)))
            return Response(status: .noContent)
        }
        var logger = Logger(label: "receive-webhooks")
        logger.logLevel = .error
        let configuration = ApplicationConfiguration(address: .hostname("127.0.0.1", port: port))
        try await Application(responder: responder, configuration: configuration, logger: logger).runService()
    }
}

/// What an event has that is needed here.
struct Event: Decodable {
    let type: String
    let id: String
    let customer_id: String?
}

/// Does each event once.
actor Inbox {
    /// In a database, with a unique key, in the transaction that does the work. Here: as long as the process lives.
    private var seen: Set<String> = []

    func carryOut(_ event: Event) throws {
        guard !seen.contains(event.id) else { return }
        if event.type == "customer.deleted", let customer = event.customer_id {
            try FileHandle.standardOutput.write(contentsOf: Data("remove \(customer) from the search index\n".utf8))
        }
        seen.insert(event.id)
    }
}

/// Tells what was signed with the secret of a webhook.
struct Signature: Sendable {
    /// Seconds that the sender's clock may differ, and a captured delivery stays good.
    private static let tolerance = 300.0

    private let key: SymmetricKey

    init?(secret: String) {
        guard secret.hasPrefix("whsec_"), let bytes = Data(base64Encoded: String(secret.dropFirst(6))) else {
            return nil
        }
        key = SymmetricKey(data: bytes)
    }

    func isAuthentic(_ body: Data, _ headers: HTTPFields) -> Bool {
        guard let id = headers[.webhookID], let timestamp = headers[.webhookTimestamp], let seconds = Double(timestamp),
            abs(Date().timeIntervalSince1970 - seconds) <= Self.tolerance
        else { return false }
        let message = Data("\(id).\(timestamp).".utf8) + body
        // Two of them while a rotation overlaps.
        return (headers[.webhookSignature] ?? "").split(separator: " ").contains { signature in
            guard signature.hasPrefix("v1,"), let code = Data(base64Encoded: String(signature.dropFirst(3))) else {
                return false
            }
            // Takes the same time wherever the two differ.
            return HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: message, using: key)
        }
    }
}

extension HTTPField.Name {
    static let webhookID = HTTPField.Name("webhook-id")!
    static let webhookTimestamp = HTTPField.Name("webhook-timestamp")!
    static let webhookSignature = HTTPField.Name("webhook-signature")!
}
