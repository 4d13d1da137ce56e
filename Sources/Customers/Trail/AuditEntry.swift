/// One line of the trail on its way into the database.
public struct AuditEntry: Sendable {
    public let id: UUID
    public let appID: UUID
    /// What is expected to be found in the trail afterwards.
    public let outcome: Outcome?
    let json: String

    /// The entry of an attempt that has a row: the database completes it from there.
    ///
    /// - Parameter finished: the outcome where the unit of work didn't commit it as a receipt; nil to complete
    ///   whatever receipt is there.
    public init(lease: Lease, finished: Finished?) {
        self.id = lease.attemptID
        self.appID = lease.appID
        self.outcome = finished?.outcome
        let attempt: [JSON.Member] = [
            .init(name: "id", value: .string(lease.attemptID.text)),
            .init(name: "app_id", value: .string(lease.appID.text)),
            .init(name: "is_attempt", value: .bool(true)),
            .init(name: "fence", value: .int(lease.fence)),
        ]
        self.json = JSON.object(attempt + (finished.map(Self.findings) ?? [])).text
    }

    /// What the database doesn't know yet. A receipt it has itself, or else it has lost it, and what it said is not true.
    private static func findings(_ finished: Finished) -> [JSON.Member] {
        guard !finished.isReceipt else { return [] }
        return [
            .init(name: "outcome", value: .string(finished.outcome.rawValue)),
            .init(name: "status_code", value: .int(finished.answer.status)),
            .init(name: "body", value: .string(finished.isStored ? finished.answer.body : nil)),
            .init(name: "before_image", value: .string(finished.beforeImage)),
            .init(name: "failure", value: finished.failure?.json ?? [:]),
        ]
    }

    /// The entry of an attempt that was answered before it got a row.
    ///
    /// - Parameters:
    ///   - caller: nil before authentication; the entry then belongs to the chain of strangers.
    ///   - clientKey: the key that was tried, if such a key exists.
    public init(
        _ attempt: Attempt, caller: Caller?, clientKey: String?, outcome: Outcome, status: Int, message: String? = nil,
        failure: Failure? = nil
    ) {
        var failure = failure ?? Failure()
        failure.message = failure.message ?? message
        guard case .object(let known) = attempt.entry, case .object(let reasons) = failure.json else {
            preconditionFailure("entries are JSON objects")
        }
        let appID = caller?.appID ?? .zero
        self.id = attempt.id
        self.appID = appID
        self.outcome = outcome
        self.json =
            JSON.object(
                known
                    + [
                        .init(name: "app_id", value: .string(appID.text)),
                        .init(name: "actor_key_id", value: .string(caller?.keyID.text)),
                        .init(name: "actor_client_key", value: .string(caller?.clientKey ?? clientKey)),
                        .init(name: "actor_name", value: .string(caller?.name)),
                        .init(name: "actor_role", value: .string(caller?.role)),
                        .init(name: "outcome", value: .string(outcome.rawValue)),
                        .init(name: "status_code", value: .int(status)),
                    ]
                    + reasons
            ).text
    }
}

extension Attempt {
    /// The entry as far as the request alone makes it.
    var entry: JSON {
        [
            "id": .string(id.text),
            "occurred_at": .string(occurredAt.description),
            "action": .string(action.rawValue),
            "customer_id": .string(customerID?.text),
            "actor_claimed": .string(context.claimedActor),
            "reason": .string(context.reason),
            "ip": .string(context.ip),
            "user_agent": .string(context.userAgent),
            "request_id": .string(context.requestID),
            "idempotency_key": .string(idempotencyKey?.text),
            "request": [
                "method": .string(context.method),
                "path": .string(context.path),
                "query": .string(context.query),
                "headers": .object(context.headers),
            ],
        ]
    }
}
