public import LibPQ

/// Step ②: one transaction that holds a change, its before-image and its receipt, in one pipelined round trip:
///
///     BEGIN · enter(attempt, fence) · the statements · COMMIT
///
/// A COMMIT in doubt is settled before anything is answered; where it can't be, the attempt is given up. One connection
/// of an app's share is left to its reads and admissions, so that units of work that wait for rows don't stop them. See
/// docs/protocol.md. The SQL stands in sql/functions/unit_of_work.sql.
public struct UnitOfWork: Sendable {
    private static let tries = 4

    private let pool: ConnectionPool
    private let givenUp: GivenUpAttempts

    public init(pool: ConnectionPool, givenUp: GivenUpAttempts) {
        self.pool = pool
        self.givenUp = givenUp
    }

    /// Runs the statements under the lease, the last of which returns the receipt; again when it was a serialization
    /// failure, a deadlock, a row that came in between or a lost connection that certainly didn't commit.
    ///
    /// - Parameters:
    ///   - lease: its fence is raised when a COMMIT in doubt is found not to have happened.
    ///   - deadline: when to give up; the lease is longer.
    ///   - refusal: what a violated constraint (class 23) means, given the results of the statements before the failing one; nil
    ///     if it is a failure.
    func run(
        _ lease: inout Lease,
        deadline: ContinuousClock.Instant,
        _ statements: [Statement],
        refusal: (ServerError, [QueryResult]) async throws(WriteError) -> Receipt? = { _, _ in nil }
    ) async throws(WriteError) -> Receipt {
        var lastError = DatabaseError.deadlineExceeded
        for round in 1...Self.tries where ContinuousClock.now < deadline {
            if round > 1 { await Backoff.pause(round: round, until: deadline) }
            let entrance = entering(lease, until: deadline)
            let outcome = await pool.transaction(
                for: lease.appID, atMost: pool.share - 1, [entrance] + statements, deadline: deadline)
            switch outcome {
            case .committed(let results):
                return try Self.receipt(results.last)
            case .rolledBack(let error, let completed):
                switch error {
                case .server(let violation) where Self.isViolation(violation) && !completed.isEmpty:
                    guard let receipt = try await refusal(violation, Array(completed.dropFirst())) else {
                        throw .failed(error)
                    }
                    return receipt
                case .server(let lost) where lost.sqlstate == Self.notHeld:
                    throw .leaseLost
                case .server(let kept) where kept.sqlstate == Self.customerKept && round < Self.tries:
                    // The row may have been inserted again during the DELETE; a permanent obstacle fails again.
                    lastError = error
                case .connectionLost:
                    lastError = error
                case _ where error.isRetryable:
                    lastError = error
                default:
                    throw WriteError(error)
                }
            case .inDoubt(let error):
                if let receipt = try await settle(&lease, doubt: error) { return receipt }
                lastError = error
            }
        }
        throw .unavailable(lastError)
    }

    /// SQLSTATE of `service.enter` when the attempt isn't ours any more.
    static let notHeld: SQLState = "CD001"
    /// SQLSTATE of `service.finish` when nothing was deleted, though the customer is there.
    private static let customerKept: SQLState = "CD003"

    private static func isViolation(_ error: ServerError) -> Bool {
        error.sqlstate.errorClass == "23"
    }

    private static func receipt(_ result: QueryResult?) throws(WriteError) -> Receipt {
        do throws(DatabaseError) {
            guard let result else { throw .unexpected("a unit of work without statements") }
            return try Receipt(result.row())
        } catch {
            throw .failed(error)
        }
    }

    /// lock_timeout + statement_timeout stay below the deadline, which is below the lease.
    private func entering(_ lease: Lease, until deadline: ContinuousClock.Instant) -> Statement {
        Statement(
            "SELECT service.enter($1, $2, $3, $4)",
            [
                .uuid(lease.appID), .uuid(lease.attemptID), .int(lease.fence),
                .int(max(100, (deadline - .now).milliseconds * 6 / 10)),
            ]
        )
    }

    /// Finds out under the attempt's lock whether a COMMIT in doubt happened.
    ///
    /// - Returns: the receipt when it did; nil when it didn't and never will, the fence being raised.
    private func settle(_ lease: inout Lease, doubt: DatabaseError) async throws(WriteError) -> Receipt? {
        let budget = Duration.seconds(2)
        let statement = Statement(
            """
            SELECT s.settling, s.fence, (s.receipt).*
            FROM service.settle($1, $2, $3, $4) AS s
            """,
            [.uuid(lease.appID), .uuid(lease.attemptID), .int(lease.fence), .int(budget.milliseconds)]
        )
        do throws(DatabaseError) {
            let deadline = ContinuousClock.now + budget + .seconds(1)
            // What cut one session off has often cut off the others, and the pool doesn't know yet.
            switch try Settled(await pool.row(statement, for: lease.appID, deadline: deadline)) {
            case .finished(let receipt): return receipt
            case .open(let fence):
                lease.fence = fence
                return nil
            case .lost: break
            }
        } catch {
            givenUp.add(lease.attemptID)
            throw .inDoubt(doubt)
        }
        throw .leaseLost
    }
}

/// A decoded `service.settled`: what became of a COMMIT in doubt.
private enum Settled {
    case finished(Receipt)
    case open(fence: Int)
    case lost

    private enum Settling: String {
        case finished = "FINISHED"
        case open = "OPEN"
        case lost = "LOST"
    }

    init(_ row: Row) throws(DatabaseError) {
        let settling: Settling = try row.get("settling")
        switch settling {
        case .finished: self = .finished(try Receipt(row))
        case .open: self = .open(fence: try row.get("fence"))
        case .lost: self = .lost
        }
    }
}
