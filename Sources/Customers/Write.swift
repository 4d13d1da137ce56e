public import Logging
import LibPQ

/// The life of a write: admission → unit of work → audit entry → answer, never in another order.
///
/// Whatever the outcome, the answer leaves only when its audit entry is durable; failing that the answer is a 503, and
/// recovery writes the entry. See docs/protocol.md.
public struct Write: Sendable {
    private let admission: Admission
    private let execution: Execution
    private let secrets: SecretBox?
    private let logger: Logger

    /// - Parameter secrets: what opens the secrets in stored answers; nil when the service has no key for them.
    public init(admission: Admission, execution: Execution, secrets: SecretBox?, logger: Logger) {
        self.admission = admission
        self.execution = execution
        self.secrets = secrets
        self.logger = logger
    }

    /// Runs in a task of its own: a client that closes its connection doesn't stop half-way what it asked for. On the
    /// connections' thread, so that no step is a switch of threads.
    public func callAsFunction(_ operation: WriteOperation, _ request: APIRequest) async -> Answer {
        let answer = await Task(executorPreference: Reactor.shared.taskExecutor) {
            await carryOut(operation, request)
        }.value
        await failpoint("answering")
        return answer
    }

    private func carryOut(_ operation: WriteOperation, _ request: APIRequest) async -> Answer {
        // Reading a large body takes longer than a stranger may keep the processor busy.
        var mayRead = true
        if request.body.count > WriteOperation.usualBody {
            do {
                mayRead = try await admission.wouldAdmit(operation.permissions, request)
            } catch {
                logger.warning("a write is unavailable", metadata: ["error": "\(error)"])
                return APIError.unavailable.answer
            }
        }
        let (attempt, plan) = operation.attempt(request, mayRead: mayRead)
        var rate: RateStatus?
        do throws(WriteError) {
            let admitted = try await admission.admit(attempt, request.credentials)  // ① commits the attempt
            rate = admitted.rate
            await failpoint("admitted")
            let receipt: Receipt
            switch admitted.verdict {
            case .run(var lease):
                receipt = try await execution.run(attempt.key, &lease, until: attempt.deadline, plan.work)  // ② and ③
                if receipt.outcome == .succeeded { await plan.afterwards?(lease) }
            case .replay(let stored):
                receipt = try await execution.complete(stored, until: attempt.deadline)
                let entry = AuditEntry(attempt, admitted, .replayed, receipt, nil)
                try await execution.record(entry, until: attempt.deadline)
            case .refused(let outcome, let error):
                receipt = Receipt(attempt.key, outcome, error)
                if outcome == .failed, let failure = admitted.failure {
                    logger.error("admission failed", metadata: ["error": "\(failure.message ?? "")"])
                }
                guard admitted.isRecorded else { break }
                let entry = AuditEntry(attempt, admitted, outcome, receipt, error)
                try await execution.record(entry, until: attempt.deadline)
            }
            return receipt.answer(to: operation, admitted, secrets)  // ④
        } catch {
            report(error, attempt)
            return APIError.unavailable.answer.with(rate)
        }
    }

    /// Why there is no receipt that may be told. What certainly failed has one.
    private func report(_ error: WriteError, _ attempt: Attempt) {
        let metadata: Logger.Metadata = [
            "attempt": "\(attempt.id.text)", "request_id": "\(attempt.context.requestID)",
            "action": "\(attempt.key.action.rawValue)", "error": "\(error)",
        ]
        switch error {
        case .inDoubt: logger.error("a COMMIT is in doubt; recovery settles it", metadata: metadata)
        case .leaseLost:
            logger.warning("the lease was lost: another instance took the attempt over", metadata: metadata)
        case .unavailable, .failed: logger.warning("a write is unavailable", metadata: metadata)
        }
    }
}
