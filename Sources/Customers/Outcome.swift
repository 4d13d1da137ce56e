/// How an attempt ended, as the trail names it. Source: contract section 3.
public enum Outcome: String, Sendable, Hashable, CaseIterable {
    case succeeded = "SUCCEEDED"
    case refused = "REFUSED"
    case notFound = "NOT_FOUND"
    case invalid = "INVALID"
    case unauthenticated = "UNAUTHENTICATED"
    case forbidden = "FORBIDDEN"
    case rateLimited = "RATE_LIMITED"
    case conflict = "CONFLICT"
    case replayed = "REPLAYED"
    case interrupted = "INTERRUPTED"
    case failed = "FAILED"
}
