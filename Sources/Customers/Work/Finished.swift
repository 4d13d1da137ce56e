/// How a unit of work ended, with everything that the receipt, the audit entry and the answer are made of.
public struct Finished: Sendable {
    public let outcome: Outcome
    public let answer: Answer
    /// The record before the attempt, as the API renders it; nil when there was none.
    public let beforeImage: String?
    public let failure: Failure?

    /// Whether the answer is kept and replayed; others free their idempotency key.
    var isStored: Bool {
        switch outcome {
        case .succeeded, .refused, .notFound: true
        default: false
        }
    }

    /// Whether the unit of work has committed it as its receipt, by `service.finish`.
    var isReceipt: Bool {
        switch outcome {
        case .succeeded, .notFound: true
        default: false
        }
    }

    /// What a receipt says that was found when the results were lost.
    init(settled receipt: Receipt) {
        self.init(
            receipt.outcome, Answer(status: receipt.status, body: receipt.body), beforeImage: receipt.beforeImage)
    }

    init(_ outcome: Outcome, _ answer: Answer, beforeImage: String? = nil, failure: Failure? = nil) {
        self.outcome = outcome
        self.answer = answer
        self.beforeImage = beforeImage
        self.failure = failure
    }
}
