import AuditTrail
import Customers
import HTTPTypes
import Hummingbird

/// A request as it arrived at the edge: who says it is, from where, and what of it may be kept.
struct RequestEdge: Sendable {
    /// The longest allowed values, in characters. Source: docs/api.md, Requests.
    private enum Limit {
        static let actorID = 200
        static let auditReason = 500
        static let requestID = 128
        static let kept = 1024
    }

    private static let keptHeaders: [HTTPField.Name] = [
        .accept, .acceptLanguage, .contentType, .contentLength, .origin, .traceParent, .forwardedFor,
    ]

    let requestID: String
    /// The trace that the request is part of, if its `traceparent` is one.
    let traceID: String?
    let credentials: Credentials
    let context: AttemptContext
    private let headers: HTTPFields

    init(_ request: Request, peer: IPAddress, proxies: TrustedProxies) {
        let headers = request.headers
        let key = Self.single(headers[values: .clientKey])
        let secret = Self.single(headers[values: .clientSecret])
        let storable = StorableText(secrets: headers[values: .clientSecret])

        let client = proxies.client(peer: peer, forwardedFor: headers[values: .forwardedFor]).text
        self.headers = headers
        self.requestID = Self.requestID(headers[values: .requestID], storable)
        self.traceID = headers[.traceParent].flatMap(Self.traceID)
        // As it came, to be looked up: what is recorded is the key that was found. It may look like a secret by chance.
        self.credentials = Credentials(clientKey: key, secret: secret)
        self.context = AttemptContext(
            method: storable(request.method.rawValue, limit: 32),
            path: storable(request.uri.path, limit: Limit.kept),
            query: request.uri.query.map { storable.query($0, limit: Limit.kept) },
            headers: Self.kept(request).map { .init(name: $0.0, value: .string(storable($0.1, limit: Limit.kept))) },
            ip: client,
            floodSubject: IPAddress(literal: client)?.site ?? client,
            userAgent: headers[.userAgent].map { storable($0, limit: Limit.kept) },
            requestID: requestID,
            claimedActor: headers[.actorID].map { storable($0, limit: Limit.actorID) },
            reason: headers[.auditReason].map { storable($0, limit: Limit.auditReason) }
        )
    }

    /// The strong tags of `If-Match`, nil without the header.
    var ifMatch: [String]? {
        EntityTags(headers[values: .ifMatch])?.strong
    }

    /// Whether the client would take server-sent events. Other media types don't matter: there is one other form.
    var wantsEventStream: Bool {
        headers[values: .accept].contains { value in
            value.split(separator: ",").contains { range in
                range.prefix { $0 != ";" }.trimmed.lowercased() == "text/event-stream"
            }
        }
    }

    /// Source: HTML Standard, section 9.2.4.
    var lastEventID: String? {
        headers[.lastEventID]
    }

    /// What is wrong with the optional headers, if anything. They are recorded and shown to people.
    var invalidity: Invalidity? {
        for (name, limit) in [(HTTPField.Name.actorID, Limit.actorID), (.auditReason, Limit.auditReason)] {
            guard let value = headers[name] else { continue }
            if value.unicodeScalars.count > limit { return .headerIsTooLong(name: name.canonicalName, limit: limit) }
            do { try TextRule.check(value, of: name.canonicalName) } catch { return error }
            // What stands for bytes that couldn't be read, in a head that ``Latin1Headers`` didn't look at.
            if value.unicodeScalars.contains("\u{fffd}") {
                return .text(name: name.canonicalName, "must be UTF-8 text without U+FFFD")
            }
        }
        return nil
    }

    /// The idempotency key, a UUID in any case, also as an RFC 8941 string in double quotes.
    var idempotencyKey: Swift.Result<UUID, Invalidity> {
        let values = headers[values: .idempotencyKey]
        guard values.count <= 1 else { return .failure(.repeatedIdempotencyKey) }
        guard var text = values.first?[...] else { return .failure(.missingIdempotencyKey) }
        if text.count >= 2, text.first == "\"", text.last == "\"" {
            text = text.dropFirst().dropLast()
        }
        guard let key = UUID(strict: text) else { return .failure(.invalidIdempotencyKey) }
        return .success(key)
    }

    /// The headers that are safe to keep, by lower-case name.
    private static func kept(_ request: Request) -> [(String, String)] {
        let host = request.head.authority.map { [("host", $0)] } ?? []
        return host + keptHeaders.compactMap { name in request.headers[name].map { (name.canonicalName, $0) } }
    }

    /// Source: W3C Trace Context, section 3.2.
    private static func traceID(_ traceParent: String) -> String? {
        let parts = traceParent.wholeMatch(of: /[0-9a-f]{2}-(?<trace>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/)
        return parts.map { String($0.trace) }
    }

    /// The only value of a header; nil when there is none, an empty one, or more than one.
    private static func single(_ values: [String]) -> String? {
        values.count == 1 && !values[0].isEmpty ? values[0] : nil
    }

    /// The client's own id when it is 1 to 128 visible ASCII characters, else a new one.
    static func requestID(_ values: [String], _ storable: StorableText = StorableText(secrets: [])) -> String {
        guard
            let id = single(values), id.utf8.count <= Limit.requestID,
            id.utf8.allSatisfy({ (0x21...0x7e).contains($0) }),
            !storable.holdsSecret(id)
        else { return UUID.random().text }
        return id
    }
}
