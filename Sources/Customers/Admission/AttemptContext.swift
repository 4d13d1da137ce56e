/// Where a request came from and what it looked like: the part of an audit entry that the client supplies.
///
/// All text is storable (no U+0000) by the time it gets here, and no member holds a secret.
public struct AttemptContext: Sendable, Hashable {
    public var method: String
    public var path: String
    public var query: String?
    /// Headers that are safe to keep, lower-case names.
    public var headers: [JSON.Member]
    /// Textual address of the client, without zone.
    public var ip: String
    public var userAgent: String?
    public var requestID: String
    /// `x-actor-id`.
    public var claimedActor: String?
    /// `x-audit-reason`.
    public var reason: String?

    public init(
        method: String, path: String, query: String?, headers: [JSON.Member], ip: String, userAgent: String?,
        requestID: String, claimedActor: String?, reason: String?
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.ip = ip
        self.userAgent = userAgent
        self.requestID = requestID
        self.claimedActor = claimedActor
        self.reason = reason
    }

    /// Whom a flood of failed authentications is counted against: the address, for IPv6 its /64.
    ///
    /// Source: RFC 6177, a site has at least a /64.
    var floodSubject: String {
        guard ip.contains(":"), let groups = Self.groups(of: ip) else { return ip }
        return groups.prefix(4).map { String($0, radix: 16) }.joined(separator: ":") + "::/64"
    }

    private static func groups(of address: String) -> [UInt16]? {
        let halves = address.split(separator: "::", maxSplits: 1, omittingEmptySubsequences: false)
        let parts = halves.map { $0.split(separator: ":").map { UInt16($0, radix: 16) ?? 0 } }
        guard let head = parts.first else { return nil }
        let tail = parts.count > 1 ? parts[1] : []
        return head + Array(repeating: 0, count: max(0, 8 - head.count - tail.count)) + tail
    }
}
