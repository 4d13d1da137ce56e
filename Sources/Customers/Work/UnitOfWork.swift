public import LibPQ

/// One transaction that holds a change, its before-image and its receipt, in one pipelined round trip:
///
///     BEGIN · hold(attempt, fence) · the statements · COMMIT
///
/// A COMMIT in doubt is settled before anybody is told anything; where that can't be had, the attempt is given up. See
/// docs/protocol.md.
public struct UnitOfWork: Sendable {
    private static let tries = 4

    private let pool: ConnectionPool
    private let givenUp: GivenUpAttempts

    public init(pool: ConnectionPool, givenUp: GivenUpAttempts) {
        self.pool = pool
        self.givenUp = givenUp
    }

    /// How the transaction ended.
    public enum Ending: Sendable {
        /// The results of the statements.
        case committed([QueryResult])
        /// A foreign key refused, at the statement after `completed` or, when there is none, at COMMIT.
        case violated(ServerError, completed: [QueryResult])
        /// It had been in doubt and is found committed; the results are lost, the receipt isn't.
        case settled(Receipt)
    }

    /// Runs the statements under the lease, again when it was a serialization failure, a deadlock, a row that came in
    /// between or a lost connection that certainly didn't commit.
    ///
    /// - Parameters:
    ///   - lease: its fence is raised when a COMMIT in doubt is found not to have happened.
    ///   - deadline: when to give up; the lease is longer.
    public func run(
        _ lease: inout Lease,
        deadline: ContinuousClock.Instant,
        _ statements: [Statement]
    ) async throws(UnitOfWorkError) -> Ending {
        var lastError = DatabaseError.deadlineExceeded
        for round in 1...Self.tries where ContinuousClock.now < deadline {
            if round > 1 { await Backoff.pause(round: round, until: deadline) }
            let hold = holding(lease, until: deadline)
            switch await pool.transaction([hold] + statements, deadline: deadline) {
            case .committed(let results):
                return .committed(Array(results.dropFirst()))
            case .rolledBack(let error, let completed):
                switch error {
                case .server(let violation) where Self.isViolation(violation) && !completed.isEmpty:
                    return .violated(violation, completed: Array(completed.dropFirst()))
                case .server(let lost) where lost.sqlstate == Self.notHeld:
                    throw .leaseLost
                case .server(let kept) where kept.sqlstate == Self.customerKept && round < Self.tries:
                    // It may have come back while the DELETE looked; what keeps it for good keeps it again.
                    lastError = error
                case .connectionLost:
                    lastError = error
                case _ where error.isRetryable:
                    lastError = error
                case _ where error.isUnavailability:
                    throw .unavailable(error)
                default:
                    throw .failed(error)
                }
            case .inDoubt(let error):
                if let receipt = try await settle(&lease, doubt: error) { return .settled(receipt) }
                lastError = error
            }
        }
        throw .unavailable(lastError)
    }

    /// SQLSTATE of `service.hold` when the attempt isn't ours any more.
    private static let notHeld: SQLState = "CD001"
    /// SQLSTATE of `service.finish` when nothing was deleted, though the customer is there.
    private static let customerKept: SQLState = "CD003"

    private static func isViolation(_ error: ServerError) -> Bool {
        error.sqlstate == .foreignKeyViolation || error.sqlstate == .restrictViolation
    }

    /// lock_timeout + statement_timeout stay below the deadline, which is below the lease.
    private func holding(_ lease: Lease, until deadline: ContinuousClock.Instant) -> Statement {
        Statement(
            "SELECT service.hold($1, $2, $3, $4)",
            [
                .uuid(lease.appID), .uuid(lease.attemptID), .int(lease.fence),
                .int(max(100, (deadline - .now).milliseconds * 6 / 10)),
            ]
        )
    }

    /// Finds out under the attempt's lock whether a COMMIT in doubt happened.
    ///
    /// - Returns: the receipt when it did; nil when it didn't and never will, the fence being raised.
    private func settle(_ lease: inout Lease, doubt: DatabaseError) async throws(UnitOfWorkError) -> Receipt? {
        let budget = Duration.seconds(2)
        let statement = Statement(
            """
            SELECT state, fence, outcome, status_code, body, before_image
            FROM service.settle($1, $2, $3, $4)
            """,
            [.uuid(lease.appID), .uuid(lease.attemptID), .int(lease.fence), .int(budget.milliseconds)]
        )
        let answer: QueryResult
        do {
            let deadline = ContinuousClock.now + budget + .seconds(1)
            // What cut one session off has often cut off the others, and the pool doesn't know yet.
            answer = try await Backoff.retrying(until: deadline) { () throws(DatabaseError) -> QueryResult in
                try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                    try await connection.query(statement, deadline: deadline)
                }
            }
        } catch {
            givenUp.add(lease.attemptID)
            throw .inDoubt(doubt)
        }
        guard let row = answer.rows.first else { throw .leaseLost }
        switch row[0] {
        case "FINISHED":
            guard
                let outcome = row["outcome"].flatMap(Outcome.init), let status = row.int("status_code"),
                let body = row["body"]
            else { throw .leaseLost }
            return Receipt(outcome: outcome, status: status, body: body, beforeImage: row["before_image"])
        case "OPEN":
            lease.fence = row.int("fence") ?? lease.fence
            return nil
        default:
            throw .leaseLost
        }
    }
}
