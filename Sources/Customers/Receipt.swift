public import LibPQ

/// What is attempted, as the trail names it.
public enum Action: String, Sendable, Hashable, CaseIterable {
    case createCustomer = "customer.create"
    case updateCustomer = "customer.update"
    case setStatus = "customer.status"
    case archiveCustomer = "customer.archive"
    case unarchiveCustomer = "customer.unarchive"
    case redactCustomer = "customer.redact"
    case restoreCustomer = "customer.restore"
    case deleteCustomer = "customer.delete"
    case deleteCustomers = "customer.bulk-delete"
    case exportCustomer = "customer.export"
    case placeHold = "hold.place"
    case releaseHold = "hold.release"
    case scheduleDeletion = "deletion.schedule"
    case cancelDeletion = "deletion.cancel"
    case createBulk = "deletion.bulk"
    case cancelBulk = "deletion.bulk-cancel"
    case createWebhook = "webhook.create"
    case updateWebhook = "webhook.update"
    case deleteWebhook = "webhook.delete"
    case rotateWebhookSecret = "webhook.rotate_secret"
    case replayWebhook = "webhook.replay"
}

/// How an attempt ended, as the trail names it. Source: docs/api.md, Audit.
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

/// What came of an attempt: everything that its answer and its audit entry are made of.
///
/// A receipt that the database holds was committed with the change that it answers for, by `service.finish`, and is
/// decoded from the type `service.receipt`; so a replay derives nothing that the first answer didn't. Others, refusals and
/// failures, are made here and reach the database with their audit entry.
public struct Receipt: Sendable, Hashable {
    /// The customer that it is about; nil for bulk requests and for what was refused before.
    public let customerID: UUID?
    public let outcome: Outcome
    /// HTTP status of the answer (RFC 9110, section 15).
    public let status: Int
    /// JSON text of the answer.
    public let body: String
    /// Seconds after which trying again makes sense.
    var retryAfter: Int?
    /// Whether a transaction has committed it.
    let isCommitted: Bool
    /// The image of the customer before the attempt, of a receipt that isn't committed.
    var beforeImage: String?
    /// Why it failed, of a receipt that isn't committed.
    var failure: Failure?

    /// Decodes a `service.receipt`.
    ///
    /// - Throws: ``DatabaseError/unexpected(_:)`` when a member is missing.
    init(_ row: Row) throws(DatabaseError) {
        customerID = row.uuid("customer_id")
        outcome = try row.get("outcome")
        status = try row.get("status_code")
        body = try row.get("body")
        isCommitted = true
    }

    /// An attempt that ends with an error.
    init(
        _ key: AttemptKey, _ outcome: Outcome, _ error: APIError, beforeImage: String? = nil, failure: Failure? = nil
    ) {
        let answer = error.answer
        self.customerID = key.customerID
        self.outcome = outcome
        self.status = answer.status
        self.body = answer.body
        self.retryAfter = answer.retryAfter
        self.isCommitted = false
        self.beforeImage = beforeImage
        self.failure = failure
    }

    /// The one place where an outcome becomes an answer: its status, its body, and what its headers say.
    ///
    /// - Parameter secrets: what opens a secret in the stored body; nil when the service has no key for it.
    func answer(to operation: WriteOperation, _ admitted: Admission.Admitted, _ secrets: SecretBox?) -> Answer {
        var answer = Answer(status: status, body: body, retryAfter: retryAfter)
        switch (outcome, operation.success, admitted.lease) {
        case (.succeeded, .record, _): answer.etag = Answer.etag(of: body)
        case (.succeeded, .made, let attempt?): answer.location = "\(operation.path)/\(attempt.attemptID.text)"
        case (.succeeded, .secret, let attempt?):
            answer.body = SecretBox.revealed(body, by: secrets, for: attempt.appID)
        case (.refused, _, _): answer.help = customerID.map { "/api/v0/customers/\($0.text)/deletion-check" }
        default: break
        }
        answer.isReplayed = admitted.isReplay
        answer.rate = admitted.rate
        return answer
    }
}

/// Why an attempt failed, for the trail.
public struct Failure: Sendable, Hashable {
    /// `P2003`: a foreign key refused.
    public static let foreignKeyViolation = "P2003"

    public var errorCode: String?
    public var sqlstate: String?
    public var constraintName: String?
    public var referencingTable: String?
    public var message: String?

    var members: [JSON.Member] {
        [
            .init(name: "error_code", value: .string(errorCode)),
            .init(name: "sqlstate", value: .string(sqlstate)),
            .init(name: "constraint_name", value: .string(constraintName)),
            .init(name: "referencing_table", value: .string(referencingTable)),
            .init(name: "error_message", value: .string(message)),
        ]
    }
}

extension Failure {
    /// A constraint that refused a deletion.
    ///
    /// The DETAIL of foreign keys names the key alone, so it may be kept; that of other constraints prints whole rows.
    init(refusal error: ServerError, by constraint: String, of table: String) {
        let isKey = error.sqlstate == .foreignKeyViolation || error.sqlstate == .restrictViolation
        self.init(
            errorCode: Self.foreignKeyViolation,
            sqlstate: error.sqlstate.rawValue,
            constraintName: constraint,
            referencingTable: table,
            message: [error.message, isKey ? error.detail : nil].compactMap { $0 }.joined(separator: ". ")
        )
    }

    /// Anything else that the database said. Without DETAIL, which can print whole rows.
    init(_ error: DatabaseError) {
        self.init(
            sqlstate: error.sqlstate?.rawValue,
            constraintName: error.serverError?.constraint,
            message: error.serverError?.message ?? "\(error)"
        )
    }
}
