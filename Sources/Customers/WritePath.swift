import LibPQ
public import Logging

/// What every write goes through: admission → unit of work → audit entry → answer, never in another order.
///
/// Whatever the outcome, the answer is returned only when its audit entry is durable; if that can't be had, the
/// answer is a 503, and recovery writes the entry.
public struct WritePath: Sendable {
    private let admission: Admission
    private let audit: AuditWriter
    private let logger: Logger

    public init(admission: Admission, audit: AuditWriter, logger: Logger) {
        self.admission = admission
        self.audit = audit
        self.logger = logger
    }

    /// What a unit of work is to the write path: it runs under a lease, by a deadline, and ends somehow.
    public typealias Work =
        @Sendable (inout Lease, ContinuousClock.Instant) async throws(UnitOfWorkError) -> Finished

    public func reply(to attempt: Attempt, _ credentials: Credentials, _ work: Work) async -> Reply {
        let decision: Admission.Decision
        do {
            decision = try await admission.admit(attempt, credentials)
        } catch  where error.isUnavailability {
            logger.warning("admission is unavailable", metadata: metadata(attempt, error))
            return Reply(APIError.unavailable.answer)
        } catch {
            logger.error("admission failed", metadata: metadata(attempt, error))
            let entry = AuditEntry(
                attempt, caller: nil, clientKey: nil, outcome: .failed, status: APIError.unforeseen.status,
                failure: Failure(error))
            return await reply(APIError.unforeseen.answer, after: [entry], attempt, nil)
        }
        await failpoint("admitted")
        switch decision.verdict {
        case .run(let lease):
            return await carryOut(attempt, decision, lease, work)
        case .replay(let stored):
            return await replay(stored, attempt, decision)
        case .unauthenticated:
            return await refuse(attempt, decision, .unauthenticated, .invalidCredentials)
        case .rateLimited(let retryAfter):
            return await refuse(attempt, decision, .rateLimited, .rateLimited(retryAfter: retryAfter))
        case .forbidden:
            return await refuse(attempt, decision, .forbidden, .insufficientPermissions)
        case .invalid:
            guard let invalidity = attempt.invalidity else { return Reply(APIError.unforeseen.answer) }
            return await refuse(attempt, decision, .invalid, .invalid(invalidity))
        case .mismatch:
            return await refuse(attempt, decision, .conflict, .keyUsedForOtherRequest)
        case .running(let retryAfter):
            return await refuse(attempt, decision, .conflict, .inProgress(retryAfter: retryAfter))
        case .admitted:
            return Reply(APIError.unforeseen.answer)
        }
    }

    /// The unit of work, and the entry of whatever came of it.
    private func carryOut(
        _ attempt: Attempt, _ decision: Admission.Decision, _ lease: Lease, _ work: Work
    ) async -> Reply {
        var lease = lease
        let finished: Finished
        do {
            // A fifth of the time is kept for the entry.
            finished = try await work(&lease, attempt.deadline - (attempt.deadline - .now) / 5)
        } catch {
            switch error {
            case .failed(let cause):
                logger.error("unit of work failed", metadata: metadata(attempt, cause))
                finished = Finished(.failed, APIError.unforeseen.answer, failure: Failure(cause))
            case .unavailable(let cause):
                logger.warning("unit of work is unavailable", metadata: metadata(attempt, cause))
                finished = Finished(.failed, APIError.unavailable.answer, failure: Failure(cause))
            case .inDoubt(let cause):
                logger.error("unit of work is in doubt; recovery settles it", metadata: metadata(attempt, cause))
                return Reply(APIError.unavailable.answer, decision.rate)
            case .leaseLost:
                logger.warning("the lease was lost", metadata: metadata(attempt, nil))
                return Reply(APIError.unavailable.answer, decision.rate)
            }
        }
        await failpoint("worked")
        return await reply(
            finished.answer, after: [AuditEntry(lease: lease, finished: finished)], attempt, decision.rate)
    }

    /// The stored answer, byte for byte. The first request's entry, should it still be missing, goes before ours.
    private func replay(_ stored: StoredAnswer, _ attempt: Attempt, _ decision: Admission.Decision) async -> Reply {
        var answer = Answer(status: stored.status, body: stored.body)
        answer.isReplayed = true
        if stored.outcome == .refused, let customerID = stored.customerID {
            answer.help = APIError.customerHasRecords(customerID).answer.help
        }
        if stored.outcome == .succeeded, attempt.action.answersWithLivingRecord {
            answer.etag = EntityTag(of: stored.body).text
        }
        var replayed = attempt
        replayed.customerID = stored.customerID
        let entry = AuditEntry(
            replayed, caller: decision.caller, clientKey: nil, outcome: .replayed, status: stored.status)
        let missing = stored.hasEntry ? [] : [AuditEntry(lease: stored.lease, finished: nil)]
        return await reply(answer, after: missing + [entry], attempt, decision.rate)
    }

    private func refuse(
        _ attempt: Attempt, _ decision: Admission.Decision, _ outcome: Outcome, _ error: APIError
    ) async -> Reply {
        guard decision.isRecorded else { return Reply(error.answer, decision.rate) }
        let entry = AuditEntry(
            attempt, caller: decision.caller, clientKey: decision.clientKey, outcome: outcome, status: error.status,
            message: error.message)
        return await reply(error.answer, after: [entry], attempt, decision.rate)
    }

    /// The answer, once its entries are durable and say the same.
    private func reply(
        _ answer: Answer, after entries: [AuditEntry], _ attempt: Attempt, _ rate: RateStatus?
    ) async -> Reply {
        do {
            for entry in entries {
                let recorded = try await audit.append(entry, deadline: attempt.deadline)
                guard let expected = entry.outcome, recorded != expected else { continue }
                logger.warning("the attempt was taken over", metadata: metadata(attempt, nil))
                return Reply(APIError.unavailable.answer, rate)
            }
            return Reply(answer, rate)
        } catch {
            logger.error("the audit entry is not durable yet", metadata: metadata(attempt, error))
            return Reply(APIError.unavailable.answer, rate)
        }
    }

    private func metadata(_ attempt: Attempt, _ error: DatabaseError?) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "attempt": "\(attempt.id.text)", "request_id": "\(attempt.context.requestID)",
            "action": "\(attempt.action.rawValue)",
        ]
        if let error { metadata["error"] = "\(error)" }
        return metadata
    }
}
