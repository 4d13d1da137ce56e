/// One round trip: the statements that were handed over together, and how far their answers got.
///
/// A pure value; ``Connection`` feeds it with what libpq gives.
struct Trip {
    /// One answer of libpq.
    enum Reply {
        case result(QueryResult)
        /// nil if libpq gave up without a word from the server.
        case failed(ServerError?, isStalePlan: Bool = false)
        /// Skipped, because an earlier statement of the pipeline had failed.
        case aborted
        /// The end of a pipeline.
        case synced
        /// A result of single-row mode, a COPY: nothing that a trip can deal with.
        case unexpected
        /// libpq's NULL: the end of one command's results.
        case end
    }

    /// What is sent for a statement: its preparation, if it is new to the session, and its execution.
    enum Step: Equatable {
        case prepare(statement: Int, name: String)
        case execute(statement: Int, name: String?)

        var statement: Int {
            switch self {
            case .prepare(let statement, _), .execute(let statement, _): statement
            }
        }
    }

    let statementCount: Int
    let steps: [Step]
    /// How many statements libpq may have taken, even in part; counted before each is handed over.
    var handedOver = 0
    /// The answers of the statements that succeeded, in order.
    private(set) var results: [QueryResult] = []
    /// The error of the statement `results.count`, or of the trip's end.
    private(set) var failure: ServerError?
    /// Why the trip ended before everything was answered.
    var interruption: DatabaseError?
    /// A statement whose plan is to be forgotten.
    private(set) var stalePlan: Int?
    /// The steps that have prepared a statement.
    private(set) var preparedSteps: [Step] = []
    /// Everything was answered, and the session is ready for the next trip.
    private(set) var isComplete = false

    private var cursor = 0
    private var stepHasReply = false
    private let isPipeline: Bool
    private var pending: QueryResult?

    init(statementCount: Int, steps: [Step], isPipeline: Bool) {
        self.statementCount = statementCount
        self.steps = steps
        self.isPipeline = isPipeline
    }

    /// A trip that wasn't begun.
    init(statementCount: Int, refusedWith error: DatabaseError) {
        self.init(statementCount: statementCount, steps: [], isPipeline: false)
        if case .server(let error) = error { failure = error } else { interruption = error }
    }

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
            isComplete = true
        }
    }

    private mutating func finishStep() {
        guard stepHasReply, cursor < steps.count else { return }
        if let pending {
            switch steps[cursor] {
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

extension Trip {
    /// What a trip of `BEGIN`, statements and `COMMIT` says about the transaction.
    ///
    /// The server works in order and answers in order, so an error that it sent for anything before COMMIT is
    /// certain: it never got to COMMIT.
    var transactionOutcome: TransactionOutcome<[QueryResult]> {
        let commit = statementCount - 1
        let completed = Array(results.dropFirst().prefix(commit - 1))
        if results.count == statementCount {
            return Trip.outcome(commitTag: results[commit].commandTag, value: completed, completed: completed)
        }
        if let failure {
            return results.count < commit
                ? .rolledBack(error ?? .server(failure), completed: completed)
                : Trip.outcome(commitError: failure, completed: completed)
        }
        let error = interruption ?? .connectionLost(nil)
        return handedOver < statementCount ? .rolledBack(error, completed: completed) : .inDoubt(error)
    }

    /// After a statement has failed, COMMIT succeeds and says `ROLLBACK`.
    static func outcome<Value>(
        commitTag: String, value: Value, completed: [QueryResult], cause: ServerError? = nil
    ) -> TransactionOutcome<Value> {
        if commitTag == "COMMIT" { return .committed(value) }
        let unknownCause = ServerError(
            sqlstate: .inFailedTransaction,
            message: "the transaction had failed before COMMIT, which answered \(commitTag)"
        )
        return .rolledBack(.server(cause ?? unknownCause), completed: completed)
    }

    /// An error raised by COMMIT comes before the commit record; the end of the session may come after it.
    static func outcome<Value>(
        commitError error: ServerError, completed: [QueryResult]
    ) -> TransactionOutcome<Value> {
        let isCertain =
            !error.endsSession && error.sqlstate.errorClass != "08" && error.sqlstate != .completionUnknown
        return isCertain ? .rolledBack(.server(error), completed: completed) : .inDoubt(.connectionLost(error))
    }
}
