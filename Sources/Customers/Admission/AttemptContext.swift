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

    /// What a flood of failed authentications is counted against: the address, for IPv6 its /64.
    var floodSubject: String {
        IPAddress(literal: ip)?.site ?? ip
    }
}
