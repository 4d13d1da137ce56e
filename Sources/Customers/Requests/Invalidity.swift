/// What is wrong with a request that was understood but can't be taken: one sentence for each.
public enum Invalidity: Error, Sendable, Hashable {
    case invalidPathID
    case missingIdempotencyKey
    case invalidIdempotencyKey
    case repeatedIdempotencyKey
    case headerIsTooLong(name: String, limit: Int)
    /// A query parameter isn't percent-encoded UTF-8, or contains U+0000, which no stored text does.
    case unreadableParameter(name: String)
    case repeatedParameter(name: String)
    case invalidNumber(name: String, ClosedRange<Int>)
    case invalidChoice(name: String, [String])
    case invalidUUID(name: String)
    case invalidDateTime(name: String)
    case invalidCursor(name: String)
    /// A member that must be a time in the future isn't one.
    case timeIsPast(name: String)
    /// A member that must be a time within a year isn't one.
    case timeIsTooFar(name: String)
    /// A bulk request with more items than the key has requests in a window: retrying would never help.
    case exceedsRateLimit(Int)
    /// The body, in a sentence that names the member.
    case body(String)
    /// Text of a member or a header, named; the rest of the sentence says what is wrong with it.
    case text(name: String, String)
    /// The service has no key to keep their secrets with.
    case webhooksAreOff
    /// The request as HTTP, in a sentence.
    case request(String)

    public var message: String {
        switch self {
        case .invalidPathID: "Validation failed (uuid is expected)"
        case .missingIdempotencyKey: "idempotency-key header is required"
        case .invalidIdempotencyKey: "idempotency-key must be a UUID"
        case .repeatedIdempotencyKey: "idempotency-key must be given once"
        case .headerIsTooLong(let name, let limit): "\(name) must be at most \(limit) characters"
        case .unreadableParameter(let name): "\(name) must be percent-encoded UTF-8 text without U+0000"
        case .repeatedParameter(let name): "\(name) must be given once"
        case .invalidNumber(let name, let range):
            "\(name) must be a whole number from \(range.lowerBound) to \(range.upperBound)"
        case .invalidChoice(let name, let values): "\(name) must be one of \(values.joined(separator: ", "))"
        case .invalidUUID(let name): "\(name) must be a UUID"
        case .invalidDateTime(let name):
            "\(name) must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"
        case .invalidCursor(let name): "\(name) must be a next_cursor of an earlier answer"
        case .timeIsPast(let name): "\(name) must be in the future"
        case .timeIsTooFar(let name): "\(name) must be at most one year ahead"
        case .exceedsRateLimit(let limit): "ids must hold at most \(limit) UUIDs, the rate limit of the key"
        case .body(let sentence), .request(let sentence): sentence
        case .webhooksAreOff: "webhooks are off: the service has no CUSTOMERD_SECRETS_KEY"
        case .text(let name, let rule): "\(name) \(rule)"
        }
    }
}
