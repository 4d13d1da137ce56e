/// One line of the trail on its way into the database: an element of the array that `service.append` takes.
public struct AuditEntry: Sendable {
    public let id: UUID
    /// The chain: the caller's app, or the zero UUID for attempts that never authenticated.
    public let appID: UUID
    /// What the trail must hold afterwards.
    public let outcome: Outcome
    let json: String

    /// The entry of an attempt that has a row: the database completes it from there.
    init(_ lease: Lease, _ receipt: Receipt) {
        id = lease.attemptID
        appID = lease.appID
        outcome = receipt.outcome
        let attempt: [JSON.Member] = [
            .init(name: "id", value: .string(lease.attemptID.text)),
            .init(name: "is_attempt", value: .bool(true)),
            .init(name: "fence", value: .int(lease.fence)),
        ]
        json = JSON.object(attempt + Self.findings(receipt)).text
    }

    /// What the database doesn't know yet. A committed receipt it has itself, or else it has lost it, and then what the
    /// receipt said isn't true.
    private static func findings(_ receipt: Receipt) -> [JSON.Member] {
        guard !receipt.isCommitted else { return [] }
        return [
            .init(name: "outcome", value: .string(receipt.outcome.rawValue)),
            .init(name: "status_code", value: .int(receipt.status)),
            .init(name: "body", value: .string(receipt.body)),
            .init(name: "before_image", value: .string(receipt.beforeImage)),
            .init(name: "failure", value: .object(receipt.failure?.members ?? [])),
        ]
    }

    /// The entry of an attempt that was answered without running.
    ///
    /// - Parameter error: what it was refused with; nil for a replay.
    init(_ attempt: Attempt, _ admitted: Admission.Admitted, _ outcome: Outcome, _ receipt: Receipt, _ error: APIError?)
    {
        self.init(
            attempt, admitted.decision, outcome, status: receipt.status, customerID: receipt.customerID, error,
            admitted.failure)
    }

    /// The entry of a read that leaves one.
    ///
    /// - Parameter error: what it was refused with; nil when it is answered.
    init(_ attempt: Attempt, _ decision: Admission.Decision, _ outcome: Outcome, _ error: APIError?) {
        self.init(
            attempt, decision, outcome, status: error?.status ?? 200, customerID: attempt.key.customerID, error,
            decision.failure)
    }

    private init(
        _ attempt: Attempt, _ decision: Admission.Decision?, _ outcome: Outcome, status: Int, customerID: UUID?,
        _ error: APIError?, _ failure: Failure?
    ) {
        let caller = decision?.caller
        id = attempt.id
        appID = caller?.appID ?? .zero
        self.outcome = outcome
        var failure = failure ?? Failure()
        failure.message = failure.message ?? error.map(attempt.recordedMessage)
        json =
            JSON.object(
                attempt.context.members
                    + [
                        .init(name: "id", value: .string(attempt.id.text)),
                        .init(name: "occurred_at", value: .string(decision?.decidedAt)),
                        .init(name: "action", value: .string(attempt.key.action.rawValue)),
                        .init(name: "customer_id", value: .string(customerID?.text)),
                        .init(name: "idempotency_key", value: .string(attempt.idempotencyKey?.text)),
                        .init(name: "actor_key_id", value: .string(caller?.keyID.text)),
                        .init(name: "actor_client_key", value: .string(decision?.clientKey)),
                        .init(name: "actor_name", value: .string(caller?.name)),
                        .init(name: "actor_role", value: .string(caller?.role)),
                        .init(name: "outcome", value: .string(outcome.rawValue)),
                        .init(name: "status_code", value: .int(status)),
                    ]
                    + failure.members
            ).text
    }
}

extension Attempt {
    /// The message of a refusal, without what it quotes of a body where no redaction could reach it.
    fileprivate func recordedMessage(of error: APIError) -> String {
        guard key.customerID == nil, case .invalid(.body(let sentence)) = error else { return error.message }
        return sentence.hasPrefix("unknown member ") ? "unknown member" : sentence
    }
}
