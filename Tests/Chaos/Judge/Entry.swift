/// One row of `audit.entries`, as far as it is judged.
package struct Entry: Sendable, Hashable {
    package var app: String
    package var seq: Int
    /// The attempt.
    package var id: String
    package var action: String
    package var outcome: String
    package var status: Int?
    package var customer: String?
    package var requestID: String?
    package var idempotencyKey: String?
    package var reason: String?
    package var errorMessage: String?
    /// JSON.
    package var beforeImage: String?
    /// The number of attempts that it stands for, where a flood was folded.
    package var folded: Int?

    package init(
        app: String, seq: Int, id: String, action: String, outcome: String, status: Int?, customer: String?,
        requestID: String?, idempotencyKey: String? = nil, reason: String? = nil, errorMessage: String? = nil,
        beforeImage: String? = nil, folded: Int? = nil
    ) {
        self.app = app
        self.seq = seq
        self.id = id
        self.action = action
        self.outcome = outcome
        self.status = status
        self.customer = customer
        self.requestID = requestID
        self.idempotencyKey = idempotencyKey
        self.reason = reason
        self.errorMessage = errorMessage
        self.beforeImage = beforeImage
        self.folded = folded
    }

    var image: CustomerImage? { CustomerImage(beforeImage.flatMap { JSONValue($0) }) }

    /// Whether the outcome is one that is kept and replayed, and so ends its idempotency key.
    var isFinal: Bool { ["SUCCEEDED", "REFUSED", "NOT_FOUND"].contains(outcome) }
}

/// A row of `service.attempts`: what was promised to be answered again.
package struct StoredReceipt: Sendable, Hashable {
    package var outcome: String?
    package var body: String?
    package var entrySeq: Int?

    package init(outcome: String?, body: String?, entrySeq: Int?) {
        self.outcome = outcome
        self.body = body
        self.entrySeq = entrySeq
    }
}
