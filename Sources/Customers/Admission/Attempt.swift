/// One request on a write route. Its id is the id of its audit entry.
public struct Attempt: Sendable {
    public let id: UUID
    /// When the request arrived.
    public let occurredAt: Timestamp
    public let action: Action
    /// nil when the path held no UUID.
    public internal(set) var customerID: UUID?
    public let idempotencyKey: UUID?
    /// What is wrong with the request, if anything.
    public let invalidity: Invalidity?
    /// SHA-256 of what makes two requests the same.
    public let fingerprint: [UInt8]
    public let context: AttemptContext
    /// What it costs of the rate budget.
    public let cost: Int
    /// All of them are needed.
    public let permissions: [Permission]
    /// By when it has to be answered.
    public let deadline: ContinuousClock.Instant

    public init(
        id: UUID = .random(), occurredAt: Timestamp = .now(), action: Action, customerID: UUID?, idempotencyKey: UUID?,
        invalidity: Invalidity?, fingerprint: [UInt8], context: AttemptContext, cost: Int = 1,
        permissions: [Permission], deadline: ContinuousClock.Instant
    ) {
        self.id = id
        self.occurredAt = occurredAt
        self.action = action
        self.customerID = customerID
        self.idempotencyKey = idempotencyKey
        self.invalidity = invalidity
        self.fingerprint = fingerprint
        self.context = context
        self.cost = cost
        self.permissions = permissions
        self.deadline = deadline
    }
}
