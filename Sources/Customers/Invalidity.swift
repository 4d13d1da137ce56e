/// What is wrong with a request that was understood but can't be taken: one sentence for each.
public enum Invalidity: Error, Sendable, Hashable {
    case customerIDIsNoUUID
    case idempotencyKeyIsMissing
    case idempotencyKeyIsNoUUID
    case idempotencyKeyIsRepeated
    case headerIsTooLong(name: String, limit: Int)
    /// The body, in a sentence that names the member.
    case body(String)

    public var message: String {
        switch self {
        case .customerIDIsNoUUID: "Validation failed (uuid is expected)"
        case .idempotencyKeyIsMissing: "idempotency-key header is required"
        case .idempotencyKeyIsNoUUID: "idempotency-key must be a UUID"
        case .idempotencyKeyIsRepeated: "idempotency-key must be given once"
        case .headerIsTooLong(let name, let limit): "\(name) must be at most \(limit) characters"
        case .body(let sentence): sentence
        }
    }
}
