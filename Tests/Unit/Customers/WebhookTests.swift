import AuditTrail
import Foundation
import LibPQ
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Customers

@Suite("What webhooks are made of")
struct WebhookTests {
    // MARK: - Addresses

    @Test(
        "only addresses that are public are reached",
        arguments: [
            ("8.8.8.8", true), ("1.1.1.1", true), ("172.15.255.255", true), ("172.32.0.0", true),
            ("223.255.255.255", true),
            ("0.0.0.0", false), ("10.1.2.3", false), ("100.64.0.1", false), ("127.0.0.1", false),
            ("127.255.0.1", false),
            ("169.254.169.254", false), ("172.16.0.1", false), ("172.31.255.255", false), ("192.0.0.8", false),
            ("192.0.2.1", false), ("192.88.99.1", false), ("192.168.0.1", false), ("198.18.0.1", false),
            ("198.51.100.1", false), ("203.0.113.1", false), ("224.0.0.1", false), ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700:4700::1111", true), ("2a00:1450::1", true), ("64:ff9b::8.8.8.8", true),
            ("::", false), ("::1", false), ("::ffff:10.0.0.1", false), ("::ffff:169.254.169.254", false),
            ("::10.0.0.1", false), ("64:ff9b::10.0.0.1", false), ("64:ff9b::169.254.169.254", false),
            ("64:ff9b:1::8.8.8.8", false), ("2002:0a00:0001::1", false), ("2002:808:808::1", false),
            ("2001::1", false), ("2001:db8::1", false), ("3fff::1", false), ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false), ("ff02::1", false), ("5f00::1", false), ("100::1", false),
        ])
    func addresses(text: String, isPublic: Bool) throws {
        let address = try #require(IPAddress(literal: text))

        #expect(WebhookAddresses.isPublic(address) == isPublic)
        #expect(WebhookAddresses(allowed: .none).permits(address, isSecure: true) == isPublic)
        #expect(!WebhookAddresses(allowed: .none).permits(address, isSecure: false))
    }

    @Test("what is allowed is reached by http, too")
    func allowed() throws {
        let addresses = WebhookAddresses(allowed: try AddressBlocks("10.0.0.0/8, fd00::/8"))

        for (text, permitted) in [
            ("10.9.8.7", true), ("fd12::1", true), ("::ffff:10.0.0.1", true), ("11.0.0.1", false),
        ] {
            let address = try #require(IPAddress(literal: text))
            #expect(addresses.permits(address, isSecure: false) == permitted)
        }
    }

    /// A ping of `hooks.example.com`, which leads to what the look-up says.
    private func ping(
        _ receiver: WebhookReceiver, lookUp: @escaping WebhookConnection.LookUp
    ) async throws -> WebhookSender.Outcome {
        let box = try SecretBox(Self.key(1))
        let addresses = WebhookAddresses(allowed: try AddressBlocks("127.0.0.1"))
        let sender = try WebhookSender(addresses: addresses, secrets: box, lookUp: lookUp)
        let app = UUID.random()
        let target = sender.target(
            of: app, url: "http://hooks.example.com:\(receiver.port)/", secret: try box.seal(.random(), for: app),
            previous: nil)
        var connection: WebhookConnection?
        let result = await sender.send("{}", id: .random(), to: target, over: &connection)
        connection?.close()
        return result
    }

    @Test("a name that leads elsewhere the second time isn't asked a second time")
    func rebinding() async throws {
        let receiver = try await WebhookReceiver()
        let asked = NIOLockedValueBox(0)

        let result = try await ping(receiver) { _, port in
            let number = asked.withLockedValue { asked in
                asked += 1
                return asked
            }
            let address = try? SocketAddress(ipAddress: number == 1 ? "127.0.0.1" : "127.0.0.2", port: port)
            return address.map { [$0] } ?? []
        }

        #expect(result.isDelivered)
        #expect(asked.withLockedValue { $0 } == 1)
    }

    @Test(
        "a name that leads inside isn't connected to, whatever else it leads to",
        arguments: ["127.0.0.2", "169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "::1", "fe80::1", "64:ff9b::a00:1"])
    func inside(address: String) async throws {
        let receiver = try await WebhookReceiver()

        let result = try await ping(receiver) { _, port in
            ["127.0.0.1", address].compactMap { try? SocketAddress(ipAddress: $0, port: port) }
        }

        let ip = try #require(IPAddress(literal: address))
        #expect(result.failure == .forbidden(ip))
        #expect(receiver.deliveries.isEmpty)
    }

    // MARK: - Pauses

    @Test("pauses are 5 s, 30 s, 2 min, 10 min, then 30 min, a fifth more or less, and no shorter than is asked for")
    func pauses() {
        for (failures, seconds) in [(1, 5.0), (2, 30), (3, 120), (4, 600), (5, 1800), (6, 1800), (200, 1800)] {
            let found = (1...100).map { _ in WebhookDeliverer.pause(failures, atLeast: nil) / .seconds(1) }
            #expect(found.allSatisfy { (seconds * 0.799...seconds * 1.2).contains($0) }, "after failure \(failures)")
            #expect(Set(found).count > 10, "not all at once")
            #expect(WebhookDeliverer.pause(failures, atLeast: 3600) == .seconds(3600))
        }
    }

    @Test("Retry-After is understood as seconds and as a date, and is an hour at most")
    func retryAfter() async throws {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = .gmt
        format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        let date = format.string(from: Date(timeIntervalSinceNow: 600))
        let header = NIOLockedValueBox("")
        let receiver = try await WebhookReceiver { _ in
            .answer(503, headers: [("retry-after", header.withLockedValue { $0 })])
        }
        for (text, range) in [("120", 120...120), (date, 500...600), ("86400", 3600...3600), ("-5", 0...0)] {
            header.withLockedValue { $0 = text }
            let result = try await ping(receiver) { _, port in
                (try? SocketAddress(ipAddress: "127.0.0.1", port: port)).map { [$0] } ?? []
            }
            #expect(range.contains(try #require(result.retryAfter, "\(text)")), "\(text)")
        }
        header.withLockedValue { $0 = "soon" }
        let result = try await ping(receiver) { _, port in
            (try? SocketAddress(ipAddress: "127.0.0.1", port: port)).map { [$0] } ?? []
        }
        #expect(result.retryAfter == nil)
    }

    // MARK: - URLs

    @Test(
        "a URL is read as it is meant",
        arguments: [
            ("https://a.example/", "a.example", 443, "/", "a.example"),
            ("HTTPS://A.Example", "a.example", 443, "/", "a.example"),
            ("https://a.example:8443/x?y=z", "a.example", 8443, "/x?y=z", "a.example:8443"),
            ("https://a.example?y=/z", "a.example", 443, "/?y=/z", "a.example"),
            ("http://a.example:80/%20", "a.example", 80, "/%20", "a.example"),
            ("https://[2001:DB8::1]:1/", "2001:db8::1", 1, "/", "[2001:db8::1]:1"),
            ("https://192.0.2.1/", "192.0.2.1", 443, "/", "192.0.2.1"),
            ("https://a_b.example./", "a_b.example.", 443, "/", "a_b.example."),
        ])
    func url(text: String, host: String, port: Int, target: String, authority: String) throws {
        let url = try WebhookURL(text)

        #expect(url.host == host)
        #expect(url.port == port)
        #expect(url.target == target)
        #expect(url.authority == authority)
    }

    @Test(
        "what two programs could read differently isn't taken",
        arguments: [
            "", "https://", "https:///x", "https:/a.example/", "//a.example/", "https://a.example:x/",
            "https://a.example:99999/", "https://a b.example/", "https://a.example\\@b.example/", "https://ä.example/",
            "https://a.example/\n", "https://[::1", "https://[::1]x/", "https://[1.2.3.4]/",
            "https://[fe80::1%25eth0]/",
            "https://1.2.3/", "https://017700000001/", "https://a.0x7f/", "https://a..b/", "https://%61.example/",
            "javascript:alert(1)", "https://a.example/#", "https://@a.example/", "https://a.example/{x}",
        ])
    func refused(text: String) {
        #expect(throws: Invalidity.self) { try WebhookURL(text) }
    }

    // MARK: - Secrets

    @Test("signatures are those of the package standardwebhooks of PyPI")
    func signature() throws {
        let bytes = try #require(Data(base64Encoded: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
        let secret = WebhookSecret(bytes: Array(bytes))

        let signature = secret.signature(
            id: "msg_p5jXN8AQM9LWM0D4loKWxLek", timestamp: 1_614_265_330, body: #"{"test": 2432232314}"#)

        #expect(signature == "v1,enRLSa8SQq0bjzfA39jRvVHj4kmZBoO5m8PEGpuQ5q0=")
        #expect(secret.text == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    }

    private static func key(_ byte: UInt8) -> String { Data(repeating: byte, count: 32).base64EncodedString() }

    @Test("a secret is opened by the key that sealed it, wherever that is in the list, and in its app alone")
    func sealing() throws {
        let (app, other) = (UUID.random(), UUID.random())
        let secret = WebhookSecret.random()
        let old = try SecretBox(Self.key(1))
        let new = try SecretBox("\(Self.key(2)), \(Self.key(1))")

        let (first, second) = (try old.seal(secret, for: app), try new.seal(secret, for: app))

        #expect(new.open(first, for: app)?.bytes == secret.bytes)
        #expect(new.open(second, for: app)?.bytes == secret.bytes)
        #expect(old.open(second, for: app) == nil)
        #expect(new.open(first, for: other) == nil)
        let again = try old.seal(secret, for: app)
        #expect(first != again)
        for index in first.indices {
            var altered = first
            altered[index] ^= 1
            #expect(old.open(altered, for: app) == nil)
        }
        #expect(old.open([], for: app) == nil)
    }

    @Test("a secret that another key sealed is sealed again with the first one")
    func resealing() throws {
        let app = UUID.random()
        let secret = WebhookSecret.random()
        let (old, new) = (try SecretBox(Self.key(1)), try SecretBox("\(Self.key(2)),\(Self.key(1))"))
        let sealed = try old.seal(secret, for: app)

        let resealed = try #require(try new.resealed(sealed, for: app))

        #expect(try SecretBox(Self.key(2)).open(resealed, for: app)?.bytes == secret.bytes)
        #expect(try new.resealed(resealed, for: app) == nil)
        #expect(try SecretBox(Self.key(3)).resealed(sealed, for: app) == nil)
    }

    @Test("a list with anything but keys of 32 bytes is refused", arguments: ["", ",", "c2hvcnQ=", "!"])
    func keys(list: String) {
        #expect(throws: SecretBox.InvalidKeys.self) { try SecretBox(list) }
    }

    @Test("a stored answer gets its secret back, or null without the key")
    func revealing() throws {
        let app = UUID.random()
        let (box, other) = (try SecretBox(Self.key(1)), try SecretBox(Self.key(2)))
        let secret = WebhookSecret.random()
        let sealed = try box.seal(secret, for: app)
        let stored = #"{"id":"1""# + SecretBox.member(sealed) + "}"

        #expect(SecretBox.revealed(stored, by: box, for: app) == #"{"id":"1","secret":"\#(secret.text)"}"#)
        #expect(SecretBox.revealed(stored, by: other, for: app) == #"{"id":"1","secret":null}"#)
        #expect(SecretBox.revealed(stored, by: nil, for: app) == #"{"id":"1","secret":null}"#)
        #expect(SecretBox.revealed("{}", by: box, for: app) == "{}")
    }
}
