public import Logging
public import LibPQ

/// Why an attempt has no receipt that may be told.
public enum WriteError: Error, Sendable, Hashable {
    /// The database couldn't take it; nothing was changed.
    case unavailable(DatabaseError)
    /// It is not known yet whether it happened. The attempt is given up, and recovery settles it.
    case inDoubt(DatabaseError)
    /// Another instance has taken the attempt over.
    case leaseLost
    /// It can't succeed, for a reason that wasn't foreseen; nothing was changed.
    case failed(DatabaseError)

    init(_ error: DatabaseError) {
        self = error.maySucceedLater ? .unavailable(error) : .failed(error)
    }
}

/// Steps ② and ③ of an attempt that has its row, of a request as of an item of a bulk request: the unit of work, which
/// commits change and receipt, then the audit entry in a transaction of its own.
public struct Execution: Sendable {
    private let audit: AuditWriter
    private let logger: Logger

    public init(audit: AuditWriter, logger: Logger) {
        self.audit = audit
        self.logger = logger
    }

    /// What an operation does under a lease.
    public typealias Work = @Sendable (inout Lease, ContinuousClock.Instant) async throws(WriteError) -> Receipt

    /// Runs the work and records what came of it; what certainly failed is recorded too.
    func run(
        _ key: AttemptKey, _ lease: inout Lease, until deadline: ContinuousClock.Instant, _ work: Work
    ) async throws(WriteError) -> Receipt {
        let receipt: Receipt
        do {
            // A fifth of the time is kept for the entry.
            receipt = try await work(&lease, deadline - (deadline - .now) / 5)  // ② commits change + receipt
        } catch {
            switch error {
            case .failed(let cause):
                logger.error("a unit of work failed", metadata: metadata(lease, key, cause))
                receipt = Receipt(key, .failed, .unforeseen, failure: Failure(cause))
            case .unavailable(let cause):
                logger.warning("a unit of work is unavailable", metadata: metadata(lease, key, cause))
                receipt = Receipt(key, .failed, .unavailable, failure: Failure(cause))
            case .inDoubt, .leaseLost:
                throw error
            }
        }
        await failpoint("worked")
        try await record(AuditEntry(lease, receipt), until: deadline)  // ③ commits the entry
        return receipt
    }

    /// The receipt of an earlier request. Its entry, should it still be missing, is written first.
    func complete(_ stored: Opened.Stored, until deadline: ContinuousClock.Instant) async throws(WriteError) -> Receipt
    {
        if !stored.hasEntry { try await record(AuditEntry(stored.lease, stored.receipt), until: deadline) }
        return stored.receipt
    }

    /// Returns when the entry is durable and says what the answer is going to say.
    func record(_ entry: AuditEntry, until deadline: ContinuousClock.Instant) async throws(WriteError) {
        let recorded: Outcome?
        do {
            recorded = try await audit.append(entry, deadline: deadline)
        } catch {
            throw .unavailable(error)
        }
        guard recorded == entry.outcome else { throw .leaseLost }
    }

    private func metadata(_ lease: Lease, _ key: AttemptKey, _ error: DatabaseError) -> Logger.Metadata {
        ["attempt": "\(lease.attemptID.text)", "action": "\(key.action.rawValue)", "error": "\(error)"]
    }
}
