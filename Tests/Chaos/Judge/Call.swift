/// A point in time, as nanoseconds since the run began, by a clock that never goes back.
package typealias Instant = Int64

/// One HTTP request of a client, and what came back.
package struct Call: Sendable, Hashable {
    /// Its number in the history.
    package var id: Int
    package var client: Int
    package var app: String
    /// The instance of the service that was asked.
    package var instance: Int
    package var request: Request
    /// `x-request-id`; no other call has it.
    package var requestID: String
    package var idempotencyKey: String?
    /// The person that `x-audit-reason` names.
    package var reason: PersonalData?
    package var invoked: Instant
    /// When there was an answer, or certainly none.
    package var returned: Instant
    /// nil when there was none.
    package var answer: CallAnswer?
    /// Calls by which one client insists on one answer have the same number.
    package var pursuit: Int?

    package init(
        id: Int, client: Int, app: String, instance: Int, request: Request, requestID: String,
        idempotencyKey: String?, reason: PersonalData?, invoked: Instant, returned: Instant, answer: CallAnswer?,
        pursuit: Int?
    ) {
        self.id = id
        self.client = client
        self.app = app
        self.instance = instance
        self.request = request
        self.requestID = requestID
        self.idempotencyKey = idempotencyKey
        self.reason = reason
        self.invoked = invoked
        self.returned = returned
        self.answer = answer
        self.pursuit = pursuit
    }

    /// Whether the answer says for good what became of the request.
    package var isSettled: Bool { answer?.isFinal ?? false }

    /// The customer that the path names.
    var subject: Subject? { request.customer.map { Subject(app: app, id: $0) } }
}

/// What came back for a call.
package struct CallAnswer: Sendable, Hashable {
    package var status: Int
    package var body: String
    /// `Idempotent-Replayed`.
    package var isReplayed: Bool
    /// `Retry-After`.
    package var retryAfter: Int?

    package init(status: Int, body: String, isReplayed: Bool = false, retryAfter: Int? = nil) {
        self.status = status
        self.body = body
        self.isReplayed = isReplayed
        self.retryAfter = retryAfter
    }

    /// The member `message` of an error.
    var message: String? { JSONValue(body)?["message"]?.string }

    /// Whether an earlier request under the same key still runs.
    package var saysInProgress: Bool {
        status == 409 && message == "A request with this idempotency-key is in progress"
    }

    package var isFinal: Bool { ![429, 500, 503].contains(status) && !saysInProgress }
}
