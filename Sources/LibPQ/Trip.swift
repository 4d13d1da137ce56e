/// One round trip: the statements that were handed to libpq together, and how far their answers got.
///
/// A pure value; ``Connection`` passes it what libpq returns.
struct Trip {
    /// One answer of libpq.
    enum Reply {
        case result(QueryResult)
        /// nil if libpq gave up without an error from the server.
        case failed(ServerError?, isStalePlan: Bool = false)
        /// Skipped, because an earlier statement of the pipeline had failed.
        case aborted
        /// The end of a pipeline, or of a part of one.
        case synced
        /// A COPY, or a row of single-row mode where none was requested: nothing that a trip can handle.
        case unexpected
        /// libpq's NULL: the end of one command's results.
        case end
    }

    /// What is sent for a statement: its preparation, if it is new to the session, and its execution.
    enum Step: Equatable {
        /// Sets the session parameters for this transaction. See ``SessionParameter``.
        case pin
        case prepare(statement: Int, name: String)
        case execute(statement: Int, name: String?)
        /// Commits what stands before it, or ends its failure: what follows runs in either case. At the end of a trip there
        /// is none, since a pipeline ends with one anyway.
        case sync

        var statement: Int? {
            switch self {
            case .pin, .sync: nil
            case .prepare(let statement, _), .execute(let statement, _): statement
            }
        }
    }

    let statementCount: Int
    let steps: [Step]
    /// How many statements libpq may have taken, even in part; counted before each is sent.
    var handedOver = 0
    /// The answers of the statements that succeeded, in order.
    private(set) var results: [QueryResult] = []
    /// The error of the statement `results.count`, or of the trip's end.
    private(set) var failure: ServerError?
    /// Why the trip ended before everything was answered.
    var interruption: DatabaseError?
    /// A statement whose plan is out of date or gone: it runs once it is prepared again.
    private(set) var stalePlan: Int?
    /// The steps that have prepared a statement.
    private(set) var preparedSteps: [Step] = []
    /// Everything was answered, and the session is ready for the next trip.
    private(set) var isComplete = false

    private var cursor = 0
    private var stepHasReply = false
    private var pending: QueryResult?

    init(statementCount: Int, steps: [Step]) {
        self.statementCount = statementCount
        self.steps = steps
    }

    var isPipeline: Bool { steps.count > 1 }

    mutating func take(_ reply: Reply) {
        guard !isComplete else { return }
        switch reply {
        case .result(let result):
            stepHasReply = true
            if failure == nil { pending = result }
        case .failed(let error?, let isStale):
            stepHasReply = true
            guard failure == nil else { return }
            pending = nil
            failure = error
            if isStale, cursor < steps.count { stalePlan = steps[cursor].statement }
        case .failed(nil, _), .unexpected:
            interruption = .connectionLost(failure)
        case .aborted:
            stepHasReply = true
        case .end:
            finishStep()
            if !isPipeline { isComplete = true }
        case .synced:
            finishStep()
            if cursor < steps.count, steps[cursor] == .sync { cursor += 1 } else { isComplete = true }
        }
    }

    private mutating func finishStep() {
        guard stepHasReply, cursor < steps.count else { return }
        if let pending {
            switch steps[cursor] {
            case .pin, .sync: break
            case .prepare: preparedSteps.append(steps[cursor])
            case .execute: results.append(pending)
            }
        }
        pending = nil
        stepHasReply = false
        cursor += 1
    }
}

extension Trip {
    /// The error of a trip whose statements don't decide about a transaction.
    var error: DatabaseError? {
        if let failure { return failure.endsSession ? .connectionLost(failure) : .server(failure) }
        return interruption
    }
}

/// How a transaction ended. A connection lost during COMMIT is neither success nor failure, and the type says so.
public enum TransactionOutcome: Sendable {
    /// Committed, with the results of the statements.
    case committed([QueryResult])
    /// The transaction has certainly not been committed.
    ///
    /// `completed` holds the results of the statements that had succeeded before the failing one, so the failing
    /// one has the index `completed.count`; as many as there were statements means that COMMIT was refused.
    case rolledBack(DatabaseError, completed: [QueryResult])
    /// COMMIT was handed to libpq and its answer never came: the transaction may be committed, may be rolled back,
    /// and may even be committed later.
    case inDoubt(DatabaseError)
}

extension Trip {
    /// What a trip of `BEGIN`, statements and `COMMIT` says about the transaction.
    ///
    /// The server executes in order and answers in order, so an error that it sent for anything before COMMIT is
    /// certain: it never reached COMMIT.
    var transactionOutcome: TransactionOutcome {
        let commit = statementCount - 1
        let completed = Array(results.dropFirst().prefix(commit - 1))
        if results.count == statementCount {
            return Trip.outcome(commitTag: results[commit].commandTag, completed: completed)
        }
        if let failure {
            return results.count < commit
                ? .rolledBack(error ?? .server(failure), completed: completed)
                : Trip.outcome(commitError: failure, completed: completed)
        }
        let error = interruption ?? .connectionLost(nil)
        return handedOver < statementCount ? .rolledBack(error, completed: completed) : .inDoubt(error)
    }

    /// After a statement has failed, COMMIT succeeds with the tag `ROLLBACK`.
    private static func outcome(commitTag: String, completed: [QueryResult]) -> TransactionOutcome {
        if commitTag == "COMMIT" { return .committed(completed) }
        let error = ServerError(
            sqlstate: .inFailedTransaction,
            message: "the transaction had failed before COMMIT, which answered \(commitTag)"
        )
        return .rolledBack(.server(error), completed: completed)
    }

    /// An error raised by COMMIT comes before the commit record; the end of the session may come after it.
    private static func outcome(
        commitError error: ServerError, completed: [QueryResult]
    ) -> TransactionOutcome {
        let isCertain =
            !error.endsSession && error.sqlstate.errorClass != "08" && error.sqlstate != .completionUnknown
        return isCertain ? .rolledBack(.server(error), completed: completed) : .inDoubt(.connectionLost(error))
    }
}
