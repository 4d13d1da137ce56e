import Foundation
import TestSupport
import Testing

/// What a webhook doesn't reach, whatever its URL says.
@Suite("Webhooks that lead inside", .stages)
struct WebhookSafetyTests {
    private static let key = ["CUSTOMERD_SECRETS_KEY": Stage.webhookSettings["CUSTOMERD_SECRETS_KEY"] ?? ""]

    private func ping(_ tenant: Tenant, _ url: String) async throws -> String? {
        let made = try await tenant.askWebhooks("POST", "", #"{"url":"\#(url)"}"#)
        SecretLedger.shared.note(try #require(try made.object["secret"] as? String, "\(made)"))
        let id = try #require(try made.object["id"] as? String)
        return try await tenant.askWebhooks("POST", "/\(id)/ping").object["error"] as? String
    }

    @Test("a name that leads to this machine is looked through at the connection")
    func nameOfThisMachine() async throws {
        let tenant = try await Stage.open(Self.key).tenant()
        let receiver = try await WebhookReceiver()

        let error = try await ping(tenant, "https://localhost:\(receiver.port)/")

        #expect(error == "the host has an address that isn't public")
        #expect(receiver.deliveries.isEmpty)
    }

    @Test("what is allowed besides is reached, and nothing else")
    func allowed() async throws {
        let settings = Self.key.merging(["CUSTOMERD_WEBHOOK_ALLOW": "127.0.0.1/32"]) { $1 }
        let tenant = try await Stage.open(settings).tenant()
        let receiver = try await WebhookReceiver()

        #expect(try await ping(tenant, "http://127.0.0.1:\(receiver.port)/") == nil)
        #expect(receiver.deliveries.count == 1)
        for url in ["http://127.0.0.2/", "https://127.0.0.2/", "https://[::1]/", "http://8.8.8.8/"] {
            #expect(try await tenant.askWebhooks("POST", "", #"{"url":"\#(url)"}"#).status == 400, "\(url)")
        }
    }

    @Test(
        "a certificate must be of an authority that is trusted, and of the host",
        .enabled(if: SelfSignedCertificate.canBeMade))
    func certificates() async throws {
        let certificate = try SelfSignedCertificate()
        let receiver = try await WebhookReceiver(certificate: certificate)
        let settings = Self.key.merging(["CUSTOMERD_WEBHOOK_ALLOW": "127.0.0.0/8 ::1"]) { $1 }
        let distrustful = try await Stage.open(settings).tenant()
        let trusting = try await Stage.open(
            settings.merging(["CUSTOMERD_WEBHOOK_CA": certificate.certificate]) { $1 }
        ).tenant()

        #expect(try await ping(distrustful, "https://127.0.0.1:\(receiver.port)/") == "the TLS handshake failed")
        #expect(receiver.deliveries.isEmpty)
        #expect(try await ping(trusting, "https://127.0.0.1:\(receiver.port)/") == nil)
        #expect(receiver.deliveries.count == 1)
        let other = try SelfSignedCertificate(name: "hooks.example.com")
        let pretender = try await WebhookReceiver(certificate: other)
        let misled = try await Stage.open(settings.merging(["CUSTOMERD_WEBHOOK_CA": other.certificate]) { $1 }).tenant()
        for host in ["127.0.0.1", "localhost"] {
            #expect(try await ping(misled, "https://\(host):\(pretender.port)/") == "the TLS handshake failed")
        }
        #expect(pretender.deliveries.isEmpty)
    }

    @Test("a key of secrets is replaced in three starts, and no webhook notices")
    func rotatedKey() async throws {
        func key(_ byte: UInt8) -> String { Data(repeating: byte, count: 32).base64EncodedString() }
        let stage = try await Stage.open(Stage.webhookSettings)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        let rotated = try await tenant.askWebhooks(
            "POST", "/\(webhook.id)/rotate-secret", #"{"overlap_seconds":3600}"#)
        SecretLedger.shared.note(try #require(try rotated.object["secret"] as? String))
        let old = try #require(Stage.webhookSettings["CUSTOMERD_SECRETS_KEY"])

        let both = try await stage.secondService(["CUSTOMERD_SECRETS_KEY": "\(key(9)),\(old)"])
        try await eventually("both secrets were encrypted again") {
            both.log.contains("secrets of webhooks were encrypted with the first key")
        }
        let alone = try await stage.secondService(["CUSTOMERD_SECRETS_KEY": key(9)])
        let ping = HTTPCall("POST", "/api/v0/webhooks/\(webhook.id)/ping", headers: tenant.key.headers)
        let answer = try await ping.send(to: alone.port)

        #expect(try answer.object["status_code"] as? Int == 200, "\(answer)")
        #expect(receiver.deliveries.last?.signatures.count == 2)
    }

    @Test("where the key of a secret is lost, rotating the secret helps at once, with an overlap too")
    func lostKey() async throws {
        let stage = try await Stage.open(Stage.webhookSettings)
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)
        let another = try await stage.secondService(
            ["CUSTOMERD_SECRETS_KEY": Data(repeating: 9, count: 32).base64EncodedString()])
        let there = tenant.through(another)

        let lost = try await there.askWebhooks("POST", "/\(webhook.id)/ping")
        let rotated = try await there.askWebhooks(
            "POST", "/\(webhook.id)/rotate-secret", #"{"overlap_seconds":3600}"#)
        SecretLedger.shared.note(try #require(try rotated.object["secret"] as? String))
        let found = try await there.askWebhooks("POST", "/\(webhook.id)/ping")

        #expect(try lost.object["error"] as? String == "no key of CUSTOMERD_SECRETS_KEY decrypts the secret")
        #expect(try found.object["status_code"] as? Int == 200, "\(found)")
        #expect(receiver.deliveries.map(\.signatures.count) == [1])
    }

    @Test(
        "a setting that can't be meant stops the start with a sentence that doesn't quote a key",
        arguments: [
            ("CUSTOMERD_SECRETS_KEY", "c2hvcnQ="), ("CUSTOMERD_SECRETS_KEY", "!"),
            ("CUSTOMERD_WEBHOOK_ALLOW", "10.0.0.0/33"),
            ("CUSTOMERD_WEBHOOK_CA", "/nonexistent.pem"),
        ])
    func settings(variable: String, value: String) async throws {
        let database = try await TestDatabase.migrated()
        let environment = Self.key.merging([
            "DATABASE_URL": database.url(user: "customerd_service"), "CUSTOMERD_PORT": "0", variable: value,
        ]) { $1 }

        let ended = try await Customerd.run(["serve"], environment)

        #expect(ended.status == 2)
        #expect(ended.errors.contains("\(variable) must be "), "\(ended.errors)")
        #expect(variable != "CUSTOMERD_SECRETS_KEY" || !ended.errors.contains(value + "\""))
        try await database.drop()
    }
}
