// An exchange: statements are handed to libpq, flushed, and their results received. The caller has claimed the session.

extension Connection {
    /// Sends statements in one round trip and takes all answers.
    ///
    /// - Parameter isSplit: whether each statement is a transaction of its own.
    func trip(_ sent: [Statement], isSplit: Bool = false, deadline: ContinuousClock.Instant) async -> Trip {
        // Without prepared statements there may be a pooler in transaction mode: see `SessionParameter`.
        let isPinning = !settings.preparesStatements && !hasOpenTransaction
        let plan = statements.plan(
            sent, isPreparing: settings.preparesStatements, isPinning: isPinning, isSplit: isSplit)
        var trip = Trip(statementCount: sent.count, steps: plan.steps)
        await failpoint("before", of: sent)
        let pq: PQConnection
        do throws(DatabaseError) {
            pq = try readyToSend(deadline: deadline)
        } catch {
            trip.interruption = error
            return trip
        }
        do throws(DatabaseError) {
            try hand(sent, over: pq, &trip)
            try await flush(pq, deadline: deadline)
            await failpoint("sent", of: sent)
            var rows: Void = ()
            try await receive(pq, &trip, deadline: deadline, into: &rows) { _, _ in false }
        } catch {
            trip.interruption = error
        }
        statements.update(with: trip, of: plan)
        conclude(&trip, pq)
        await failpoint("answered", of: sent)
        return trip
    }

    /// Sends one statement by other means than a trip's, and takes its answers.
    ///
    /// - Parameter eachRow: takes the rows of single-row mode, and returns whether it wants more.
    func single<State>(
        deadline: ContinuousClock.Instant, into state: inout State, send: (PQConnection) -> Bool,
        eachRow: (inout State, Row) -> Bool
    ) async -> Trip {
        var trip = Trip(statementCount: 1, steps: [.execute(statement: 0, name: nil)])
        let pq: PQConnection
        do throws(DatabaseError) {
            pq = try readyToSend(deadline: deadline)
        } catch {
            trip.interruption = error
            return trip
        }
        do throws(DatabaseError) {
            trip.handedOver = 1
            guard send(pq) else { throw refusal(pq) }
            try await flush(pq, deadline: deadline)
            try await receive(pq, &trip, deadline: deadline, into: &state, eachRow: eachRow)
        } catch {
            trip.interruption = error
        }
        conclude(&trip, pq)
        return trip
    }

    private func readyToSend(deadline: ContinuousClock.Instant) throws(DatabaseError) -> PQConnection {
        try machine.checkSending(deadline: deadline, now: .now)
        guard let pq else { throw .connectionLost(nil) }
        return pq
    }

    private func hand(_ sent: [Statement], over pq: PQConnection, _ trip: inout Trip) throws(DatabaseError) {
        if trip.isPipeline, !pq.enterPipeline() { throw refusal(pq) }
        for step in trip.steps {
            if let statement = step.statement { trip.handedOver = statement + 1 }
            guard send(step, of: sent, pq) else { throw refusal(pq) }
        }
        if trip.isPipeline, !pq.sync() { throw refusal(pq) }
    }

    private func send(_ step: Trip.Step, of sent: [Statement], _ pq: PQConnection) -> Bool {
        switch step {
        case .pin: pq.send(SessionParameter.statement, [])
        case .sync: pq.sync()
        case .prepare(let index, let name): pq.prepare(name, sent[index].sql, sent[index].parameters)
        case .execute(let index, let name?): pq.send(prepared: name, sent[index].parameters)
        case .execute(let index, nil): pq.send(sent[index].sql, sent[index].parameters)
        }
    }

    /// Why libpq didn't take a statement: the connection is broken, or there are too many parameters.
    private func refusal(_ pq: PQConnection) -> DatabaseError {
        pq.isBad || machine.state.isBroken
            ? .connectionLost(pq.notifiedError) : .unavailable("libpq refused the statement: \(pq.errorMessage)")
    }

    private func flush(_ pq: PQConnection, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        // While this side sends, it has to read what the server sends, or both would wait for each other.
        while !machine.state.isDraining, pq.flush() == .pending {
            watch?.watchWriting()
            try await wait(for: .flush, until: deadline)
        }
        watch?.stopWriting()
    }

    private func receive<State>(
        _ pq: PQConnection, _ trip: inout Trip, deadline: ContinuousClock.Instant, into state: inout State,
        eachRow: (inout State, Row) -> Bool
    ) async throws(DatabaseError) {
        var ends = 0
        while !trip.isComplete, trip.interruption == nil, trip.failure?.endsSession != true {
            guard let result = try await nextResult(pq, deadline: deadline) else {
                trip.take(.end)
                ends += 1
                // A broken connection returns NULL forever.
                if ends > trip.steps.count + 1 { throw .connectionLost(pq.notifiedError) }
                continue
            }
            guard result.status == .singleRow else {
                trip.take(Trip.Reply(result))
                continue
            }
            for index in 0..<result.rowCount where !eachRow(&state, Row(result: result, index: index)) {
                handle { $0.giveUp() }
                throw .connectionLost(nil)
            }
        }
    }

    private func nextResult(
        _ pq: PQConnection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> PQResult? {
        while !machine.state.isBroken, pq.isBusy {
            if machine.state.isDraining { read() } else { try await wait(for: .result, until: deadline) }
        }
        return pq.nextResult()
    }

    private func conclude(_ trip: inout Trip, _ pq: PQConnection) {
        let lastWords = pq.notifiedError
        if case .connectionLost(nil) = trip.interruption {
            trip.interruption = .connectionLost(trip.failure ?? lastWords)
        }
        let isComplete = trip.isComplete && trip.interruption == nil && !machine.state.isBroken && !pq.isBad
        let isInStep = isComplete && (!trip.isPipeline || pq.exitPipeline())
        let error = trip.failure
        handle { $0.tripEnded(error: error, isInStep: isInStep, lastWords: lastWords) }
    }
}

extension Trip.Reply {
    fileprivate init(_ result: PQResult) {
        self =
            switch result.status {
            case .rows, .command: .result(QueryResult(result))
            case .failed: .failed(result.serverError, isStalePlan: result.isStalePlan)
            case .aborted: .aborted
            case .sync: .synced
            case .singleRow, .copy: .unexpected
            }
    }
}

extension QueryResult {
    fileprivate init(_ result: PQResult) {
        columns = result.columns
        rows = (0..<result.rowCount).map { Row(result: result, index: $0) }
        commandTag = result.commandTag
    }
}
