import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("Webhooks", .stage(Stage.webhookSettings))
struct WebhookManagementTests {
    private static let url = "https://hooks.example.com/x?a=b"
    private static let created = #"{"url":"https://hooks.example.com/x?a=b"}"#
    private let stage = Stage.current

    private func make(_ tenant: Tenant, _ body: String = created, key: String? = nil) async throws -> HTTPAnswer {
        let answer = try await tenant.askWebhooks("POST", "", body, key: key)
        if let secret = try? answer.object["secret"] as? String { SecretLedger.shared.note(secret) }
        return answer
    }

    private func id(_ answer: HTTPAnswer) throws -> String { try #require(try answer.object["id"] as? String) }

    @Test("one that is made answers with its secret, this once")
    func create() async throws {
        let tenant = try await stage.tenant()

        let answer = try await make(
            tenant, #"{"url":"\#(Self.url)","types":["customer.deleted","customer.created"],"description":"CRM"}"#)

        let id = try id(answer)
        let shown = try #require(
            answer.body.wholeMatch(
                of:
                    /(\{"id":"[0-9a-f-]{36}","url":"https:\/\/hooks.example.com\/x\?a=b","types":\["customer.deleted","customer.created"\],"description":"CRM","status":"ENABLED","createdAt":"[^"]+Z"),"secret":"whsec_[A-Za-z0-9+\/]{43}="\}/
            )?.output.1)
        #expect(answer.status == 201)
        #expect(try await tenant.askWebhooks("GET", "/\(id)").body == shown + "}")
        #expect(try await tenant.askWebhooks("GET").body == "{\"data\":[\(shown)}]}")
        let entry = try #require(try await tenant.entries().last)
        #expect([entry["action"], entry["outcome"], entry["customer_id"]] == ["webhook.create", "SUCCEEDED", nil])
        #expect(entry.request("webhook") == id)
    }

    @Test("without types it has all of them")
    func allTypes() async throws {
        let answer = try await make(try await stage.tenant())

        #expect((try answer.object["types"] as? [String])?.count == 11)
        #expect(try answer.object["description"] is NSNull)
    }

    @Test("a repetition with the same idempotency key has the same answer, whose secret isn't stored as it is")
    func repeated() async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        let first = try await make(tenant, key: key)
        let second = try await make(tenant, key: key)
        let other = try await make(tenant, #"{"url":"https://hooks.example.com/y"}"#, key: key)

        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
        #expect(other.status == 422)
        #expect(try await tenant.askWebhooks("GET").data.count == 1)
        let stored = try #require(
            try await tenant.database.value(
                "SELECT body FROM service.attempts WHERE idempotency_key = $1 AND is_current", [.text(key)]))
        #expect(stored.contains(#""secret":"sealed:"#))
        let secret = try #require(try first.object["secret"] as? String)
        #expect(!stored.contains(secret.dropFirst(6)))
    }

    @Test("what can't be meant is a 400 that says why", arguments: refusals)
    func refused(body: String, message: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await make(tenant, body)

        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
        #expect(try await tenant.entries().last?["outcome"] == "INVALID")
    }

    private static let unknownTypes =
        "types must be a list of customer.created, customer.updated, customer.status_changed, customer.archived, "
        + "customer.unarchived, customer.deleted, customer.deletion_refused, customer.redacted, customer.restored, "
        + "customer.deletion_scheduled, customer.deletion_cancelled, each at most once"

    static let refusals: [(body: String, message: String)] = [
        (#"{}"#, "url is required"),
        (#"{"url":1}"#, "url must be a string"),
        (#"{"url":"ftp://example.com/"}"#, "url must begin with https://"),
        (#"{"url":"https://user@example.com/"}"#, "url must not have a user name or password"),
        (#"{"url":"https://example.com/#part"}"#, "url must not have a fragment"),
        (#"{"url":"https://10.0.0.1/"}"#, "url must have a public address"),
        (#"{"url":"https://[::1]/"}"#, "url must have a public address"),
        (#"{"url":"https://[::ffff:169.254.169.254]/"}"#, "url must have a public address"),
        (#"{"url":"http://8.8.8.8/"}"#, "url must begin with https://"),
        (#"{"url":"https://2130706433/"}"#, "url must have a host name or an IP address"),
        (#"{"url":"https://0x7f.1/"}"#, "url must have a host name or an IP address"),
        (#"{"url":"https://example.com:0/"}"#, "url must have a port from 1 to 65535, or none"),
        (#"{"url":"https://example.com/","types":[]}"#, unknownTypes),
        (#"{"url":"https://example.com/","types":["customer.exploded"]}"#, unknownTypes),
        (#"{"url":"https://example.com/","types":["customer.deleted","ping"]}"#, unknownTypes),
        (#"{"url":"https://example.com/","secret":"x"}"#, "unknown member secret; known are url, types, description"),
        (#"{"url":"https://example.com/","description":5}"#, "description must be a string"),
    ]

    @Test("the twenty-first of an app is a 409, even when many are made at once")
    func limit() async throws {
        let tenant = try await stage.tenant()

        let answers = try await withThrowingTaskGroup(of: HTTPAnswer.self) { group in
            for _ in 1...24 { group.addTask { try await self.make(tenant) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        #expect(answers.count { $0.status == 201 } == 20)
        let refused = answers.filter { $0.status != 201 }
        #expect(Set(refused.map(\.body)) == [HTTPAnswer.error(409, "An app can have at most 20 webhooks", "Conflict")])
        #expect(try await tenant.entries().count { $0["outcome"] == "CONFLICT" } == 4)
    }

    @Test("its members are changed one by one")
    func change() async throws {
        let tenant = try await stage.tenant()
        let id = try id(
            try await make(tenant, #"{"url":"\#(Self.url)","types":["customer.deleted"],"description":"a"}"#))

        let changed = try await tenant.askWebhooks("PATCH", "/\(id)", #"{"description":null,"status":"DISABLED"}"#)
        #expect(try changed.object["description"] is NSNull)
        #expect(try changed.object["status"] as? String == "DISABLED")
        #expect(try changed.object["types"] as? [String] == ["customer.deleted"])
        let all = try await tenant.askWebhooks("PATCH", "/\(id)", #"{"types":null,"url":"https://example.org/"}"#)
        #expect((try all.object["types"] as? [String])?.count == 11)
        #expect(try all.object["url"] as? String == "https://example.org/")
        let none = try await tenant.askWebhooks("PATCH", "/\(id)", "{}")
        #expect(none.status == 400)
        let wrong = try await tenant.askWebhooks("PATCH", "/\(id)", #"{"url":"https://127.0.0.2/"}"#)
        #expect(wrong.status == 400)
        #expect(
            try await tenant.entries().compactMap { $0["action"] }.suffix(2) == ["webhook.update", "webhook.update"])
    }

    @Test("one that is deleted is gone, and answers with nothing")
    func delete() async throws {
        let tenant = try await stage.tenant()
        let id = try id(try await make(tenant))

        let answer = try await tenant.askWebhooks("DELETE", "/\(id)")

        #expect(answer.status == 204)
        #expect(answer.body == "")
        for (method, path, body) in Self.calls(id) {
            let gone = try await tenant.askWebhooks(method, path, body)
            #expect(gone.body == HTTPAnswer.error(404, "Webhook not found", "Not Found"), "\(method) \(path)")
        }
    }

    private static func calls(_ id: String) -> [(String, String, String?)] {
        [
            ("GET", "/\(id)", nil), ("PATCH", "/\(id)", #"{"status":"ENABLED"}"#), ("DELETE", "/\(id)", nil),
            ("POST", "/\(id)/rotate-secret", nil), ("POST", "/\(id)/ping", nil),
            ("POST", "/\(id)/replay", #"{"after":0}"#), ("GET", "/\(id)/deliveries", nil),
        ]
    }

    @Test("another app's webhook looks like none")
    func foreign() async throws {
        let (owner, other) = (try await stage.tenant(), try await stage.tenant())
        let id = try id(try await make(owner))
        let before = try await owner.askWebhooks("GET").body

        for (method, path, body) in Self.calls(id) {
            #expect(try await other.askWebhooks(method, path, body).status == 404, "\(method) \(path)")
        }
        #expect(try await other.askWebhooks("GET").body == #"{"data":[]}"#)
        #expect(try await owner.askWebhooks("GET").body == before)
    }

    @Test("an id that is no UUID is a 400")
    func malformedID() async throws {
        let tenant = try await stage.tenant()

        for (method, path, body) in Self.calls("x") {
            let answer = try await tenant.askWebhooks(method, path, body)
            #expect(answer.body == HTTPAnswer.error(400, "Validation failed (uuid is expected)", "Bad Request"))
        }
    }

    @Test("all of it needs webhooks:manage, which admins have alone", arguments: KeyRole.allCases)
    func roles(role: KeyRole) async throws {
        let admin = try await stage.tenant()
        let id = try id(try await make(admin))
        let tenant = try await admin.withKey(role: role.rawValue)

        for (method, path, body) in Self.calls(id).dropFirst(role == .admin ? 7 : 0) + [("GET", "", nil)] {
            let answer = try await tenant.askWebhooks(method, path, body)
            #expect(answer.status == (role == .admin ? 200 : 403), "\(method) \(path)")
        }
    }

    @Test("a new secret takes the place of the old one, and both sign during the overlap")
    func rotation() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)

        let answer = try await tenant.askWebhooks(
            "POST", "/\(webhook.id)/rotate-secret", #"{"overlap_seconds":36e2}"#)
        let secret = try #require(try answer.object["secret"] as? String)
        SecretLedger.shared.note(secret)
        #expect(secret != webhook.secret)
        _ = try await tenant.askWebhooks("POST", "/\(webhook.id)/ping")
        #expect(receiver.deliveries.last?.signatures.count == 2)

        let again = try await tenant.askWebhooks("POST", "/\(webhook.id)/rotate-secret")
        SecretLedger.shared.note(try #require(try again.object["secret"] as? String))
        _ = try await tenant.askWebhooks("POST", "/\(webhook.id)/ping")
        #expect(receiver.deliveries.last?.signatures.count == 1)
        let tooLong = try await tenant.askWebhooks(
            "POST", "/\(webhook.id)/rotate-secret", #"{"overlap_seconds":86401}"#)
        #expect(try tooLong.message == "overlap_seconds must be a whole number from 0 to 86400")
    }

    @Test("every change leaves its entry, and is made once by a key")
    func entries() async throws {
        let tenant = try await stage.tenant()
        let id = try id(try await make(tenant))
        let changes: [(method: String, path: String, body: String?, action: String)] = [
            ("PATCH", "", #"{"description":"CRM"}"#, "webhook.update"),
            ("POST", "/rotate-secret", #"{"overlap_seconds":60}"#, "webhook.rotate_secret"),
            ("POST", "/replay", #"{"after":0}"#, "webhook.replay"),
            ("DELETE", "", nil, "webhook.delete"),
        ]

        for (method, path, body, action) in changes {
            let key = newID()
            let before = try await tenant.entries().count
            let first = try await tenant.askWebhooks(method, "/\(id)\(path)", body, key: key)
            let second = try await tenant.askWebhooks(method, "/\(id)\(path)", body, key: key)
            if let secret = try? first.object["secret"] as? String { SecretLedger.shared.note(secret) }

            #expect((200...204).contains(first.status), "\(action): \(first)")
            #expect(second.body == first.body && second["idempotent-replayed"] == "true", "\(action): \(second)")
            let entries = try await tenant.entries().dropFirst(before)
            #expect(entries.map { $0["action"] } == [action, action])
            #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "REPLAYED"])
            #expect(entries.first?.request("webhook") == id)
        }
        let requests = try await tenant.entries().map { $0["request"] ?? "" }
        #expect(requests.contains { $0.contains(#""changes": ["description"]"#) }, "\(requests)")
        #expect(requests.contains { $0.contains(#""after": 0"#) })
    }

    @Test("a replay goes no further than to the end of the chain, so that what comes next isn't skipped")
    func beyond() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver()
        let webhook = try await tenant.makeWebhook(to: receiver)

        let answer = try await tenant.askWebhooks("POST", "/\(webhook.id)/replay", #"{"after":1000000}"#)
        try await tenant.makeEvents(1)

        #expect(answer.status == 200)
        try await eventually("the next event was delivered") { receiver.deliveries.count == 1 }
    }

    @Test("a receiver that says nothing to a ping is waited for for 15 seconds")
    func silentPing() async throws {
        let tenant = try await stage.tenant()
        let receiver = try await WebhookReceiver { _ in .silence }
        let webhook = try await tenant.makeWebhook(to: receiver)

        let answer = try await tenant.askWebhooks("POST", "/\(webhook.id)/ping")

        #expect(try answer.object["error"] as? String == "there was no whole answer within 15 s", "\(answer)")
        #expect(try answer.object["status_code"] is NSNull)
        #expect((15_000...20_000).contains(try answer.object["duration_ms"] as? Int ?? 0))
        #expect(receiver.deliveries.count == 1)
    }

    @Test("a ping is delivered once, answers with its delivery, and leaves no entry")
    func ping() async throws {
        let tenant = try await stage.tenant(name: "back office")
        let receiver = try await WebhookReceiver { _ in .answer(503) }
        let webhook = try await tenant.makeWebhook(to: receiver)
        let entries = try await tenant.entries().count

        let answer = try await tenant.askWebhooks("POST", "/\(webhook.id)/ping")

        #expect(answer.status == 200)
        #expect(try answer.object["status_code"] as? Int == 503)
        #expect(try answer.object["error"] as? String == "the receiver answered 503")
        let delivery = try #require(receiver.deliveries.first)
        #expect(receiver.deliveries.count == 1)
        #expect(delivery["type"] == "ping")
        #expect(delivery["actor"] == "back office")
        #expect(!delivery.body.contains("seq"))
        #expect(delivery["id"] == delivery.id)
        #expect(try answer.object["id"] as? String == delivery.id)
        #expect(try await tenant.entries().count == entries)
        let history = try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries")
        #expect(try history.column("type") == ["ping"])
        #expect(try await tenant.askWebhooks("GET", "/\(webhook.id)/deliveries?limit=1001").status == 400)
    }
}

@Suite("Webhooks without a key for their secrets", .unlimitedStage())
struct WebhooksOffTests {
    @Test("they can't be made, and the service says why")
    func off() async throws {
        let stage = Stage.current
        let tenant = try await stage.tenant()

        let answer = try await tenant.askWebhooks("POST", "", #"{"url":"https://example.com/"}"#)

        let message = "webhooks are off: the service has no CUSTOMERD_SECRETS_KEY"
        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
        #expect(stage.service.log.contains("webhooks are off: CUSTOMERD_SECRETS_KEY isn't set"))
        #expect(try await tenant.askWebhooks("GET").body == #"{"data":[]}"#)
    }
}
