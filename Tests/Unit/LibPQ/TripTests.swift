import Testing

@testable import LibPQ

/// What a transaction's round trip means, on values.
@Suite("Trips")
struct TripTests {
    /// A trip of BEGIN, one statement and COMMIT that was handed over as a whole.
    private func transaction() -> Trip {
        let steps = (0...2).map { Trip.Step.execute(statement: $0, name: nil) }
        var trip = Trip(statementCount: 3, steps: steps, isPipeline: true)
        trip.handedOver = 3
        return trip
    }

    private func answer(_ tag: String) -> Trip.Reply {
        .result(QueryResult(columns: [], rows: [], commandTag: tag))
    }

    private func error(_ sqlstate: SQLState, severity: String = "ERROR") -> Trip.Reply {
        .failed(ServerError(severity: severity, sqlstate: sqlstate, message: ""))
    }

    private func outcome(_ replies: [Trip.Reply], lost: Bool = false) -> TransactionOutcome<[QueryResult]> {
        var trip = transaction()
        for reply in replies { trip.take(reply) }
        if lost { trip.interruption = .connectionLost(nil) }
        return trip.transactionOutcome
    }

    @Test("all answers and COMMIT's tag: committed")
    func committed() {
        let replies = [answer("BEGIN"), .end, answer("DELETE 1"), .end, answer("COMMIT"), .end, .synced]

        #expect(outcome(replies).committedValue?.map(\.commandTag) == ["DELETE 1"])
    }

    @Test("lost after COMMIT has answered: committed")
    func lostAfterCommitAnswered() {
        let replies = [answer("BEGIN"), .end, answer("DELETE 1"), .end, answer("COMMIT"), .end]

        #expect(outcome(replies, lost: true).committedValue != nil)
    }

    @Test("COMMIT that says ROLLBACK: rolled back")
    func commitSaysRollback() {
        let replies = [answer("BEGIN"), .end, answer("DELETE 1"), .end, answer("ROLLBACK"), .end, .synced]

        #expect(outcome(replies).rollback?.error.sqlstate == .inFailedTransaction)
    }

    @Test("nothing answered and lost: in doubt")
    func nothingAnswered() {
        #expect(outcome([], lost: true).doubt == .connectionLost(nil))
    }

    @Test("a statement's error, then lost: rolled back, because the server never got to COMMIT")
    func errorThenLost() {
        let rollback = outcome([answer("BEGIN"), .end, error("23503"), .end], lost: true).rollback

        #expect(rollback?.error.sqlstate == .foreignKeyViolation)
        #expect(rollback?.completed.isEmpty == true)
    }

    @Test("the session's end within a statement: rolled back")
    func fatalInStatement() {
        let rollback = outcome([answer("BEGIN"), .end, error("57P01", severity: "FATAL")], lost: true).rollback

        #expect(rollback?.error == .connectionLost(ServerError(severity: "FATAL", sqlstate: "57P01", message: "")))
    }

    @Test("the session's end within COMMIT: in doubt", arguments: ["FATAL", "PANIC"])
    func fatalInCommit(severity: String) {
        let replies = [answer("BEGIN"), .end, answer("DELETE 1"), .end, error("57P01", severity: severity)]

        #expect(outcome(replies, lost: true).doubt?.sqlstate == .adminShutdown)
    }

    @Test("COMMIT's own error: rolled back, unless it says that nobody knows")
    func errorInCommit() {
        let statements: [Trip.Reply] = [answer("BEGIN"), .end, answer("DELETE 1"), .end]

        let refused = outcome(statements + [error("23503"), .end, .synced])
        let unknown = outcome(statements + [error("40003"), .end, .synced])
        let disconnected = outcome(statements + [error("08006"), .end, .synced])

        #expect(refused.rollback?.completed.count == 1)
        #expect(unknown.doubt != nil)
        #expect(disconnected.doubt != nil)
    }

    @Test("lost before COMMIT was handed over: rolled back")
    func notHandedOver() {
        var trip = transaction()
        trip.handedOver = 2
        trip.interruption = .connectionLost(nil)

        #expect(trip.transactionOutcome.rollback?.error == .connectionLost(nil))
    }

    @Test("libpq giving up without the server's word counts as lost")
    func madeUpError() {
        #expect(outcome([answer("BEGIN"), .end, .failed(nil)]).doubt == .connectionLost(nil))
    }

    @Test("a preparation's error is the error of its statement")
    func failedPreparation() {
        let steps: [Trip.Step] = [
            .execute(statement: 0, name: nil), .prepare(statement: 1, name: "a"), .execute(statement: 1, name: "a"),
            .execute(statement: 2, name: nil),
        ]
        var trip = Trip(statementCount: 3, steps: steps, isPipeline: true)
        trip.handedOver = 3

        let replies = [answer("BEGIN"), .end, error("42601"), .end, .aborted, .end, .aborted, .end, .synced]
        for reply in replies { trip.take(reply) }

        #expect(trip.isComplete)
        #expect(trip.preparedSteps.isEmpty)
        #expect(trip.transactionOutcome.rollback?.completed.isEmpty == true)
        #expect(trip.transactionOutcome.rollback?.error.sqlstate == .syntaxError)
    }

    @Test("what was prepared before the error stays prepared")
    func preparedBeforeError() {
        let steps: [Trip.Step] = [.prepare(statement: 0, name: "a"), .execute(statement: 0, name: "a")]
        var trip = Trip(statementCount: 1, steps: steps, isPipeline: true)

        for reply in [answer(""), .end, error("22012"), .end, .synced] { trip.take(reply) }

        #expect(trip.preparedSteps == [steps[0]])
        #expect(trip.error?.sqlstate == "22012")
    }
}
