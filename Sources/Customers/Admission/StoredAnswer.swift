/// The answer of an earlier request under the same idempotency key.
public struct StoredAnswer: Sendable, Hashable {
    public let lease: Lease
    /// Whom it was about.
    public let customerID: UUID?
    /// Whether its audit entry is written already.
    public let hasEntry: Bool
    public let outcome: Outcome
    public let status: Int
    public let body: String
}
