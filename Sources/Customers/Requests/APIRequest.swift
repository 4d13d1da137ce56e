/// One request, as the transport read it.
public struct APIRequest: Sendable {
    public let credentials: Credentials
    public let context: AttemptContext
    /// The `{id}` of the path; nil if it is no UUID.
    public let id: UUID?
    let parameters: QueryParameters
    /// `idempotency-key`, or what is wrong with it.
    public let idempotencyKey: Result<UUID, Invalidity>
    /// The entity tags of `If-Match` (RFC 9110, section 13.1.1), in quotes or `*`; nil without the header.
    public let ifMatch: [String]?
    /// Whether `Accept` names `text/event-stream`.
    public let wantsEventStream: Bool
    /// `Last-Event-ID`, of a client that goes on with a stream of events.
    public let lastEventID: String?
    /// What is wrong with the optional headers, if anything.
    public let invalidity: Invalidity?
    /// Empty for a read.
    public let body: [UInt8]
    /// The deadline of the answer.
    public let deadline: ContinuousClock.Instant

    /// - Parameter query: what follows the `?`, as it was sent.
    public init(
        credentials: Credentials, context: AttemptContext, id: UUID?, query: String,
        idempotencyKey: Result<UUID, Invalidity>, ifMatch: [String]?, wantsEventStream: Bool, lastEventID: String?,
        invalidity: Invalidity?, body: [UInt8], deadline: ContinuousClock.Instant
    ) {
        self.credentials = credentials
        self.context = context
        self.id = id
        self.parameters = QueryParameters(query)
        self.idempotencyKey = idempotencyKey
        self.ifMatch = ifMatch
        self.wantsEventStream = wantsEventStream
        self.lastEventID = lastEventID
        self.invalidity = invalidity
        self.body = body
        self.deadline = deadline
    }

    /// The `{id}` of the path, of an operation that has one.
    func pathID() throws(Invalidity) -> UUID {
        guard let id else { throw .invalidPathID }
        return id
    }
}

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
    /// What a flood of failed authentications is counted by: the address, for IPv6 its /64.
    public var floodSubject: String
    public var userAgent: String?
    public var requestID: String
    /// `x-actor-id`.
    public var claimedActor: String?
    /// `x-audit-reason`.
    public var reason: String?

    public init(
        method: String, path: String, query: String?, headers: [JSON.Member], ip: String, floodSubject: String,
        userAgent: String?, requestID: String, claimedActor: String?, reason: String?
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.ip = ip
        self.floodSubject = floodSubject
        self.userAgent = userAgent
        self.requestID = requestID
        self.claimedActor = claimedActor
        self.reason = reason
    }

    /// What the database keeps with an attempt until its audit entry is written.
    var members: [JSON.Member] {
        [
            .init(name: "actor_claimed", value: .string(claimedActor)),
            .init(name: "reason", value: .string(reason)),
            .init(name: "ip", value: .string(ip)),
            .init(name: "user_agent", value: .string(userAgent)),
            .init(name: "request_id", value: .string(requestID)),
            .init(
                name: "request",
                value: [
                    "method": .string(method), "path": .string(path), "query": .string(query),
                    "headers": .object(headers),
                ]),
        ]
    }
}
