import AuditTrail
import Customers
import Foundation
import HTTPTypes
import Hummingbird
import Testing

@testable import CustomerHTTP

@Suite("Text that may be kept")
struct StorableTextTests {
    private let secret = "cs_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

    @Test("what acts on a terminal or a page goes, the rest stays")
    func active() {
        #expect(StorableText(secrets: [])("a\u{0}b 👩‍👩‍👧\n\u{202e}\u{9b}é", limit: 100) == "ab 👩‍👩‍👧é")
    }

    @Test("a secret whose parts are separated only by what is removed is one")
    func separatedSecrets() {
        #expect(StorableText(secrets: [secret])("cs\u{202e}_0123456789abcdefghijklmnop", limit: 100) == "[redacted]")
    }

    @Test("a secret is found in linear time, whatever it repeats")
    func repetitiveSecrets() {
        let secret = String(repeating: "ab", count: 4000) + "c"
        let storable = StorableText(secrets: [secret])
        let text = String(repeating: "ab", count: 12_000)

        #expect(storable(text, limit: 30_000) == text)
        #expect(storable("abab\(secret)\(secret)ab", limit: 100) == "abab[redacted][redacted]ab")
    }

    @Test("the limit counts characters as PostgreSQL does")
    func limit() {
        #expect(StorableText(secrets: [])("e\u{301}e\u{301}", limit: 3) == "e\u{301}e")
    }

    @Test("a secret goes, wherever it stands")
    func secrets() {
        let storable = StorableText(secrets: [secret])

        #expect(!storable("/api/\(secret)/x", limit: 1000).contains(secret))
        #expect(!storable.query("a=\(secret)", limit: 1000).contains(secret))
        #expect(storable.holdsSecret("x\(secret)"))
        #expect(!storable.holdsSecret("x"))
    }

    @Test("a secret is removed as often as it occurs, with characters that combine with it")
    func clingingSecrets() {
        for storable in [StorableText(secrets: [secret]), StorableText(secrets: ["cs_" + secret])] {
            for text in [
                "\(secret)\u{301}", "\u{200d}\(secret)", "a\(secret)\(secret)b\(secret)", "cs_\(secret)\u{301}",
            ] {
                #expect(!storable(text, limit: 1000).utf8.elementsEqual(text.utf8))
                #expect(storable(text, limit: 1000).ranges(of: secret.dropLast()).isEmpty, "\(text)")
            }
        }
        #expect(StorableText(secrets: [secret])("a\(secret)\(secret)b", limit: 1000) == "a[redacted][redacted]b")
    }

    @Test(
        "a secret is removed in every percent-encoding",
        arguments: [
            "%63s_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", "cs%5F0123456789abcdefghijklmnopqrstuvwxyz%41BCDEFG",
            // Beside what is no encoding, and no UTF-8.
            "100% of cs%5f0123456789abcdefghijklmnopqrstuvwxyzABCDEFG%",
            "%ff%zcs%5f0123456789abcdefghijklmnopqrstuvwxyz",
            // Encoded twice, and thrice.
            "cs%255F0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
            "cs%25255F0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
        ])
    func encodedSecrets(text: String) {
        let storable = StorableText(secrets: [secret])

        for text in [text, "a=\(text)&b=\(text)"] {
            #expect(!storable(text, limit: 1000).contains("0123456789"))
            #expect(storable.holdsSecret(text))
        }
    }

    @Test("an encoding without a secret stays as it is")
    func harmlessEncodings() {
        for text in ["100%", "%", "%zz", "%41%2541", "a%20b%ff"] {
            #expect(StorableText(secrets: [secret])(text, limit: 100) == text)
        }
    }

    @Test("a secret that the limit would cut goes as a whole")
    func cutSecret() {
        #expect(!StorableText(secrets: [secret])(secret, limit: 10).contains("0123"))
    }

    @Test("a short word sent as a secret changes nothing")
    func shortSecrets() {
        #expect(StorableText(secrets: ["customers"])("/api/v0/customers", limit: 100) == "/api/v0/customers")
    }

    @Test("values under names of credentials go")
    func query() {
        let storable = StorableText(secrets: [])
        let query = storable.query("take=1&api_key=abc&Token=x=y&secret&&name=a&to%6Ben=b", limit: 1000)

        #expect(query == "take=1&api_key=[redacted]&Token=[redacted]&secret=[redacted]&&name=a&to%6Ben=[redacted]")
    }
}

@Suite("The edge")
struct EdgeTests {
    private static let key = "550e8400-e29b-41d4-a716-446655440001"

    private func edge(_ headers: [(String, String)], path: String = "/api/v0/customers?take=1") throws -> RequestEdge {
        var fields = HTTPFields()
        for (name, value) in headers {
            fields.append(HTTPField(name: try #require(HTTPField.Name(name)), value: value))
        }
        let head = HTTPRequest(method: .get, scheme: "http", authority: "api.test", path: path, headerFields: fields)
        return RequestEdge(
            Request(head: head, body: .init(buffer: .init())), peer: try #require(IPAddress("192.0.2.1")),
            proxies: TrustedProxies.none)
    }

    @Test("an id of visible ASCII is kept", arguments: ["a", String(repeating: "~", count: 128), "!{}\"%"])
    func requestID(id: String) throws {
        #expect(try edge([("x-request-id", id)]).requestID == id)
    }

    @Test("any other id is replaced", arguments: ["", "a b", "é", String(repeating: "a", count: 129)])
    func replacedRequestID(id: String) throws {
        let edge = try edge([("x-request-id", id)])

        #expect(UUID(strict: edge.requestID) != nil)
        #expect(edge.context.requestID == edge.requestID)
    }

    @Test("two ids are none, and a secret isn't one")
    func unusableRequestIDs() throws {
        let secret = "cs_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"

        #expect(UUID(strict: try edge([("x-request-id", "a"), ("x-request-id", "a")]).requestID) != nil)
        #expect(UUID(strict: try edge([("x-request-id", secret), ("x-client-secret", secret)]).requestID) != nil)
    }

    @Test(
        "an idempotency-key is a UUID in any case, in quotes or not",
        arguments: [key, key.uppercased(), "\"\(key)\"", "\"\(key.uppercased())\""])
    func idempotencyKey(text: String) throws {
        #expect(try edge([("Idempotency-Key", text)]).idempotencyKey.get() == UUID(uuidString: Self.key))
    }

    @Test(
        "anything else is malformed",
        arguments: ["", "\"", "\"\"", "\"\(key)", "\(key)\"", "{\(key)}", "urn:uuid:\(key)", "'\(key)'", key + "0"])
    func malformedIdempotencyKey(text: String) throws {
        #expect(try invalidity([("idempotency-key", text)]) == .invalidIdempotencyKey)
    }

    @Test("none is missing, two are too many")
    func numberOfIdempotencyKeys() throws {
        let twice = [("idempotency-key", Self.key), ("idempotency-key", Self.key)]

        #expect(try invalidity([]) == .missingIdempotencyKey)
        #expect(try invalidity(twice) == .repeatedIdempotencyKey)
    }

    private func invalidity(_ headers: [(String, String)]) throws -> Invalidity? {
        guard case .failure(let error) = try edge(headers).idempotencyKey else { return nil }
        return error
    }

    @Test("credentials that are empty or given twice are none")
    func credentials() throws {
        let twice = try edge([("x-client-key", "a"), ("x-client-key", "a"), ("x-client-secret", "b")])
        let empty = try edge([("x-client-key", ""), ("x-client-secret", "")])

        #expect(twice.credentials.clientKey == nil)
        #expect(empty.credentials.clientKey == nil)
        #expect(empty.credentials.secretDigest == Credentials.digest(""))
    }

    @Test("what is too long for the trail is named", arguments: [("x-actor-id", 200), ("x-audit-reason", 500)])
    func lengths(name: String, limit: Int) throws {
        let longest = String(repeating: "🙂", count: limit)

        #expect(try edge([(name, longest)]).invalidity == nil)
        #expect(try edge([(name, longest + "x")]).invalidity == .headerIsTooLong(name: name, limit: limit))
    }

    @Test("what couldn't be read is refused in what is recorded", arguments: ["x-actor-id", "x-audit-reason"])
    func unreadable(name: String) throws {
        #expect(
            try edge([(name, "a\u{fffd}b")]).invalidity == .text(name: name, "must be UTF-8 text without U+FFFD"))
    }

    @Test(
        "what acts on a terminal is refused in what is recorded, by the header's name",
        arguments: ["x-actor-id", "x-audit-reason"])
    func activeText(name: String) throws {
        for text in ["a\tb", "a\u{9b}31m", "a\u{202e}b", "\u{2066}"] {
            let edge = try edge([(name, text)])
            #expect(edge.invalidity?.message.hasPrefix("\(name) must not contain ") == true)
            #expect(
                !(edge.context.claimedActor ?? edge.context.reason ?? "?").unicodeScalars.contains {
                    TextRule.isActive($0)
                })
        }
    }

    @Test("headers that may hold a secret aren't kept")
    func keptHeaders() throws {
        let edge = try edge([
            ("accept", "*/*"), ("authorization", "Bearer x"), ("cookie", "session=x"), ("x-client-secret", "x"),
            ("x-api-key", "x"), ("traceparent", "00-ab-cd-01"),
        ])

        #expect(edge.context.headers.map(\.name) == ["host", "accept", "traceparent"])
        #expect(edge.context.path == "/api/v0/customers")
        #expect(edge.context.query == "take=1")
        #expect(edge.context.ip == "192.0.2.1")
    }
}

extension TrustedProxies {
    /// Believes no proxy.
    static var none: TrustedProxies {
        TrustedProxies(.none)
    }
}
