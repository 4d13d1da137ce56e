/// Everything that can be said to a client instead of what it asked for. The one place that maps errors to HTTP.
///
/// Source: docs/api.md, Errors; status codes of RFC 9110, 6585 (429, 431).
public enum APIError: Error, Sendable, Hashable {
    case invalidCredentials
    case rateLimited(retryAfter: Int)
    case insufficientPermissions
    case invalid(Invalidity)
    case customerNotFound
    case auditEntryNotFound
    case webhookNotFound
    case tooManyWebhooks
    /// Nothing that covers the entry, or nothing at all, was signed yet.
    case checkpointNotFound
    case customerHasRecords
    case keyUsedForOtherRequest
    case inProgress(retryAfter: Int)
    case customerExists
    case notRestorable
    case customerHeld
    case holdNotFound
    case scheduleNotFound
    case bulkNotFound
    case preconditionFailed
    case noRoute(method: String, path: String)
    case methodNotAllowed(method: String, path: String)
    case expectationFailed
    case malformedRequest
    /// The limit is in bytes.
    case bodyTooLarge(limit: Int)
    case requestTimeout
    case headersTooLarge
    case unavailable
    case unforeseen

    /// Seconds until a client should come back after a 503.
    public static let unavailableRetryAfter = 1
}

extension APIError {
    /// What a deletion that ended so is answered with in a list; nil for a success.
    init?(deletion outcome: Outcome) {
        switch outcome {
        case .succeeded: return nil
        case .refused: self = .customerHasRecords
        case .notFound: self = .customerNotFound
        case .forbidden: self = .insufficientPermissions
        default: self = .unforeseen
        }
    }

    public var answer: Answer {
        Answer(
            status: status,
            body: JSON.object([
                .init(name: "statusCode", value: .int(status)),
                .init(name: "message", value: .string(message)),
                .init(name: "error", value: .string(title)),
            ]).text,
            retryAfter: retryAfter
        )
    }

    public var status: Int {
        switch self {
        case .invalid, .customerHasRecords, .malformedRequest: 400
        case .invalidCredentials: 401
        case .insufficientPermissions: 403
        case .customerNotFound, .auditEntryNotFound, .checkpointNotFound, .holdNotFound, .scheduleNotFound,
            .bulkNotFound, .webhookNotFound, .noRoute:
            404
        case .methodNotAllowed: 405
        case .requestTimeout: 408
        case .inProgress, .customerExists, .notRestorable, .customerHeld, .tooManyWebhooks: 409
        case .preconditionFailed: 412
        case .bodyTooLarge: 413
        case .expectationFailed: 417
        case .keyUsedForOtherRequest: 422
        case .rateLimited: 429
        case .headersTooLarge: 431
        case .unforeseen: 500
        case .unavailable: 503
        }
    }

    public var message: String {
        switch self {
        case .invalidCredentials: "Invalid API credentials"
        case .rateLimited: "Rate limit exceeded"
        case .insufficientPermissions: "Insufficient permissions"
        case .invalid(let invalidity): invalidity.message
        case .customerNotFound: "Customer not found"
        case .auditEntryNotFound: "Audit entry not found"
        case .webhookNotFound: "Webhook not found"
        case .tooManyWebhooks: "An app can have at most 20 webhooks"
        case .checkpointNotFound: "Checkpoint not found"
        case .customerHasRecords: "Customer cannot be deleted."
        case .keyUsedForOtherRequest: "idempotency-key was used with a different request"
        case .inProgress: "A request with this idempotency-key is in progress"
        case .customerExists: "Customer already exists"
        case .notRestorable: "Customer can no longer be restored"
        case .customerHeld: "Customer is under a hold"
        case .holdNotFound: "Hold not found"
        case .scheduleNotFound: "Scheduled deletion not found"
        case .bulkNotFound: "Bulk deletion not found"
        case .preconditionFailed: "If-Match does not match the customer's ETag"
        case .noRoute(let method, let path), .methodNotAllowed(let method, let path): "Cannot \(method) \(path)"
        case .expectationFailed: "Expect must be 100-continue"
        case .malformedRequest: "Malformed HTTP request"
        case .bodyTooLarge(let limit): "Request body is larger than \(limit / 1024) KiB"
        case .requestTimeout: "Request body did not arrive in time"
        case .headersTooLarge: "Request headers are too large"
        case .unavailable: "Service temporarily unavailable"
        case .unforeseen: "Internal server error"
        }
    }

    private var title: String {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 412: "Precondition Failed"
        case 413: "Payload Too Large"
        case 417: "Expectation Failed"
        case 422: "Unprocessable Entity"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 503: "Service Unavailable"
        default: "Internal Server Error"
        }
    }

    private var retryAfter: Int? {
        switch self {
        case .rateLimited(let seconds), .inProgress(let seconds): seconds
        case .unavailable: Self.unavailableRetryAfter
        default: nil
        }
    }
}
