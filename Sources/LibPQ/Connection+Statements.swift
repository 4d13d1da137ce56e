// What callers use: statements, scripts, streams and transactions.

extension Connection {
    /// Runs one statement, in a transaction of its own unless one is open.
    ///
    /// Canceling the task cancels the statement on the server. Don't send `COMMIT` this way: see
    /// ``transaction(_:deadline:)``.
    ///
    /// - Throws: ``DatabaseError/deadlineExceeded`` once the deadline has passed; the connection is closed then, and
    ///   the server is asked to cancel the statement.
    public func query(
        _ statement: Statement, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> QueryResult {
        let ticket = try begin(statement, isCancellable: true, deadline: deadline)
        let trip = await withTaskCancellationHandler {
            await self.trip(statement, deadline: deadline)
        } onCancel: {
            cancel(ticket)
        }
        try finish(trip)
        return trip.results[0]
    }

    /// Runs one statement that changes something, in a transaction of its own, and never cancels it.
    ///
    /// Its COMMIT may be waiting for a synchronous standby. Canceled, it would end as "committed locally": visible
    /// here, and lost after a failover. So past the deadline the connection is closed, and the server finishes by
    /// itself.
    ///
    /// - Throws: after ``DatabaseError/connectionLost(_:)`` or ``DatabaseError/deadlineExceeded`` it is unknown whether
    ///   the change was made.
    public func perform(
        _ statement: Statement, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> QueryResult {
        _ = try begin(statement, isCancellable: false, deadline: deadline)
        let trip = await self.trip(statement, deadline: deadline)
        try finish(trip)
        return trip.results[0]
    }

    /// Runs two statements in one round trip, each in a transaction of its own: the second runs whatever became of the
    /// first.
    ///
    /// Canceling the task cancels the one that is running on the server. Without prepared statements it takes two round
    /// trips: a pooler may give each transaction another session.
    ///
    /// - Returns: what both ended with.
    /// - Throws: what the first one, or the connection before its answer, failed with; it is unknown then whether the second
    ///   has run.
    ///
    /// Source: PostgreSQL manual, libpq, "Pipeline Mode".
    public func queries(
        _ first: Statement, _ second: Statement, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (first: QueryResult, second: Result<QueryResult, DatabaseError>) {
        guard settings.preparesStatements, !second.hasZeroByte else {
            let result = try await query(first, deadline: deadline)
            do throws(DatabaseError) {
                return (result, .success(try await query(second, deadline: deadline)))
            } catch {
                return (result, .failure(error))
            }
        }
        let ticket = try begin(first, isCancellable: true, deadline: deadline)
        let (results, trip) = await withTaskCancellationHandler {
            await split(first, second, deadline: deadline)
        } onCancel: {
            cancel(ticket)
        }
        do throws(DatabaseError) {
            try finish(trip)
        } catch {
            guard let result = results.first else { throw error }
            return (result, .failure(error))
        }
        return (results[0], .success(results[1]))
    }

    /// - Returns: what has succeeded, in order, and the trip that says what the next one failed with.
    private func split(
        _ first: Statement, _ second: Statement, deadline: ContinuousClock.Instant
    ) async -> ([QueryResult], Trip) {
        let trip = await trip([first, second], isSplit: true, deadline: deadline)
        guard canRepeat(trip) else { return (trip.results, trip) }
        let isFirstDone = !trip.results.isEmpty
        let again = await self.trip(isFirstDone ? [second] : [first, second], isSplit: true, deadline: deadline)
        return (trip.results + again.results, again)
    }

    private func trip(_ statement: Statement, deadline: ContinuousClock.Instant) async -> Trip {
        let trip = await trip([statement], deadline: deadline)
        // Nothing was executed, so outside of a transaction the statement can be prepared again.
        return canRepeat(trip) ? await self.trip([statement], deadline: deadline) : trip
    }

    private func canRepeat(_ trip: Trip) -> Bool {
        guard trip.stalePlan != nil, case .busy = machine.state else { return false }
        return !hasOpenTransaction
    }

    private func begin(
        _ statement: Statement, isCancellable: Bool, deadline: ContinuousClock.Instant
    ) throws(DatabaseError) -> SessionStateMachine.Ticket {
        guard !statement.hasZeroByte else { throw .zeroByte }
        guard !Task.isCancelled else { throw .cancelled }
        return try begin(isCancellable: isCancellable, deadline: deadline)
    }

    private nonisolated func cancel(_ ticket: SessionStateMachine.Ticket) {
        reactor.call { self.assumeIsolated { $0.handle { $0.cancel(ticket) } } }
    }

    /// Ends an exchange whose outcome is this trip's.
    private func finish(_ trip: Trip) throws(DatabaseError) {
        let isCancelRequested = machine.exchange?.isCancelRequested ?? false
        let wasCancelled = isCancelRequested && trip.failure?.sqlstate == .queryCanceled
        finish(wasCancelled: wasCancelled)
        if wasCancelled { throw .cancelled }
        if let error = trip.error { throw error }
    }
}

extension Connection {
    /// Runs a text of several statements by the simple protocol, for migrations. `COPY FROM STDIN` isn't supported.
    ///
    /// Without `BEGIN` in the text, it is one implicit transaction. The task's cancellation has no effect.
    ///
    /// - Throws: the first error.
    public func script(_ sql: String, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        guard !sql.hasZeroByte else { throw .zeroByte }
        try begin(deadline: deadline)
        var rows: Void = ()
        let trip = await single(deadline: deadline, into: &rows) {
            $0.send(script: sql)
        } eachRow: { _, _ in
            false
        }
        try finish(trip)
    }

    /// Runs a statement and passes on its rows one by one, in constant memory.
    ///
    /// The socket isn't read while `body` runs, so the server waits for it. Canceling the task cancels the statement.
    ///
    /// - Parameters:
    ///   - state: passed from row to row.
    ///   - body: runs on the connection's executor. An error that it throws ends the statement and closes the
    ///     connection.
    /// - Returns: the state after the last row.
    /// - Throws: ``DatabaseError``, or what `body` throws.
    ///
    /// Source: PostgreSQL manual, libpq, "Retrieving Query Results Row-by-Row".
    public func stream<State: Sendable>(
        _ statement: Statement,
        deadline: ContinuousClock.Instant,
        into state: State,
        _ body: @Sendable (inout State, Row) throws -> Void
    ) async throws -> State {
        let ticket = try begin(statement, isCancellable: true, deadline: deadline)
        let (trip, reading) = await withTaskCancellationHandler {
            await read(statement, deadline: deadline, into: state, body)
        } onCancel: {
            cancel(ticket)
        }
        if let failure = reading.failure { throw failure }
        try finish(trip)
        return reading.state
    }

    private struct Reading<State> {
        var state: State
        /// What the reader has thrown.
        var failure: (any Error)?
    }

    private func read<State: Sendable>(
        _ statement: Statement,
        deadline: ContinuousClock.Instant,
        into state: State,
        _ body: @Sendable (inout State, Row) throws -> Void
    ) async -> (Trip, Reading<State>) {
        var reading = Reading(state: state)
        let trip = await single(deadline: deadline, into: &reading) {
            $0.send(statement.sql, statement.parameters) && $0.setSingleRowMode()
        } eachRow: { reading, row in
            do { try body(&reading.state, row) } catch { reading.failure = error }
            return reading.failure == nil
        }
        return (trip, reading)
    }
}

extension Connection {
    /// Runs `BEGIN ISOLATION LEVEL READ COMMITTED`, the statements and `COMMIT` in one round trip.
    ///
    /// It never cancels anything, and the task's cancellation has no effect: past the deadline it closes the
    /// connection, and the server may still commit. After an error it sends `ROLLBACK`, so the connection is clean.
    public func transaction(
        _ statements: [Statement], deadline: ContinuousClock.Instant
    ) async -> TransactionOutcome {
        do throws(DatabaseError) {
            guard !statements.contains(where: \.hasZeroByte) else { throw .zeroByte }
            try begin(deadline: deadline)
        } catch {
            return .rolledBack(error, completed: [])
        }
        let all = [.begin] + statements + [Statement("COMMIT", prepared: false)]
        var trip = await trip(all, deadline: deadline)
        await rollBackIfOpen(deadline: deadline)
        if canRepeat(trip) {
            // The transaction has been rolled back; prepared again, the statement runs.
            trip = await self.trip(all, deadline: deadline)
            await rollBackIfOpen(deadline: deadline)
        }
        finish()
        return trip.transactionOutcome
    }

    /// Ends a transaction that a caller has left open: rolls back, or closes the connection if that fails.
    func rollBack(deadline: ContinuousClock.Instant) async {
        do throws(DatabaseError) {
            try begin(deadline: deadline)
        } catch {
            return close()
        }
        await rollBackIfOpen(deadline: deadline)
        finish()
    }

    private func rollBackIfOpen(deadline: ContinuousClock.Instant) async {
        guard hasOpenTransaction, case .busy = machine.state else { return }
        let trip = await trip([Statement("ROLLBACK", prepared: false)], deadline: deadline)
        if trip.error != nil || hasOpenTransaction { close() }
    }
}
