/// Which audit entries are asked for.
public struct AuditSearch: Sendable, Hashable {
    public static let limits = 1...100

    public var customerID: UUID?
    public var outcome: Outcome?
    /// A client key, the name of an API key, or a claimed actor (`x-actor-id`).
    public var actor: String?
    /// The first moment of the time in which an attempt occurred, inclusive.
    public var from: DateTime?
    /// Its end, exclusive.
    public var to: DateTime?
    /// Where an earlier page ended.
    public var cursor: AuditCursor?
    /// How many entries at most.
    public var limit: Int
    /// Whether the salts are asked for, too, with which all hashes can be computed again.
    public var withProof: Bool

    public init(
        customerID: UUID?, outcome: Outcome?, actor: String?, from: DateTime?, to: DateTime?, cursor: AuditCursor?,
        limit: Int, withProof: Bool
    ) {
        self.customerID = customerID
        self.outcome = outcome
        self.actor = actor
        self.from = from
        self.to = to
        self.cursor = cursor
        self.limit = limit
        self.withProof = withProof
    }
}
