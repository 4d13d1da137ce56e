import HTTPTypes

/// The header fields of the API. Source: docs/api.md, Requests and Answers.
extension HTTPField.Name {
    static let clientKey = Self("x-client-key")!
    static let clientSecret = Self("x-client-secret")!
    static let idempotencyKey = Self("idempotency-key")!
    static let actorID = Self("x-actor-id")!
    static let auditReason = Self("x-audit-reason")!
    static let requestID = Self("x-request-id")!
    static let traceParent = Self("traceparent")!
    static let lastEventID = Self("last-event-id")!
    static let forwardedFor = Self("x-forwarded-for")!
    static let idempotentReplayed = Self("Idempotent-Replayed")!
    static let rateLimit = Self("X-RateLimit-Limit")!
    static let rateRemaining = Self("X-RateLimit-Remaining")!
    static let rateReset = Self("X-RateLimit-Reset")!
    static let link = Self("Link")!
    static let contentTypeOptions = Self("X-Content-Type-Options")!
}
