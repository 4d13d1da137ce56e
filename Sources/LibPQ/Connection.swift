import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// One session of the database.
///
/// Whoever holds it has it alone: a second caller, while a statement is under way, is refused with
/// ``DatabaseError/unavailable(_:)`` rather than mixed in. Waiting never blocks a thread.
public actor Connection {
    /// Why an exchange with the server ended early.
    enum Interruption: Error {
        case deadline
        /// Somebody closed the connection meanwhile: libpq's handle is gone.
        case abandoned
    }

    /// What an exchange waits for.
    enum Awaited {
        /// The next result is there.
        case result
        /// The socket takes more, or has something to read.
        case flush
    }

    enum Wake {
        case ready
        case deadline
        case abandoned
    }

    private struct Waiter {
        var awaited: Awaited
        var deadline: ContinuousClock.Instant
        var continuation: CheckedContinuation<Wake, Never>
    }

    public nonisolated var unownedExecutor: UnownedSerialExecutor { reactor.asUnownedSerialExecutor() }
    private nonisolated let reactor = Reactor.shared
    private nonisolated let sharedCondition = Atomic(ConnectionCondition.connecting)
    private nonisolated let sharedReadOnly = Atomic(false)

    let settings: ConnectionSettings
    private let onClose: @Sendable () -> Void
    private var pq: PQConnection?
    private var cancelToken: PQCancelToken?
    private var watch: SocketWatch?
    private var timer: DeadlineTimer?
    private var waiter: Waiter?
    private var statements = StatementCache()
    /// The server has hung up, and the socket tells no more; what it still holds can be read.
    private var isHungUp = false
    /// The socket is broken, but an exchange is still taking what had come before.
    private var isLost = false
    /// The session may not be used again after the exchange that is under way.
    private var isRetired = false
    private var isAbandoned = false
    /// What the server said when it ended the session.
    private var endingError: ServerError?
    /// The first error since the last BEGIN.
    private(set) var transactionError: ServerError?
    /// The ticket of the exchange that is under way: the guard against a second caller.
    private var activeTicket: UInt64?
    private var lastTicket: UInt64 = 0
    private var isCancelRequested = false

    private init(settings: ConnectionSettings, onClose: @escaping @Sendable () -> Void) {
        self.settings = settings
        self.onClose = onClose
    }

    /// - Parameter onClose: called once, when the session has come to its end.
    static func connect(
        _ settings: ConnectionSettings, deadline: ContinuousClock.Instant, onClose: @escaping @Sendable () -> Void
    ) async throws(DatabaseError) -> Connection {
        let established = try await Connector(settings: settings, deadline: deadline).connect()
        let connection = Connection(settings: settings, onClose: onClose)
        try await connection.adopt(established)
        return connection
    }

    nonisolated var condition: ConnectionCondition {
        sharedCondition.load(ordering: .acquiring)
    }

    /// Whether the server has refused to write.
    nonisolated var hasFoundReadOnly: Bool {
        sharedReadOnly.load(ordering: .acquiring)
    }

    /// Opens a session.
    ///
    /// Name lookup blocks, and so runs on a thread of its own; the caller isn't held up by it past the deadline.
    ///
    /// - Throws: ``DatabaseError/unavailable(_:)`` with libpq's reason, also once the deadline has passed, or
    ///   ``DatabaseError/cancelled``.
    ///
    /// Source: PostgreSQL manual, libpq, "Database Connection Control Functions".
    public static func connect(
        _ settings: ConnectionSettings, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Connection {
        try await connect(settings, deadline: deadline, onClose: {})
    }

    /// Whether the session can still be used. It notices a server that hangs up while the connection is idle.
    public nonisolated var isUsable: Bool {
        switch condition {
        case .clean, .active, .inTransaction: true
        case .connecting, .closed: false
        }
    }

    /// The process that serves the session, as `pg_stat_activity` and `pg_terminate_backend` name it; 0 if closed.
    public var backendPID: Int32 {
        pq?.backendPID ?? 0
    }

    /// Ends the session. A statement that is under way ends with ``DatabaseError/connectionLost(_:)``.
    public func close() {
        abandon()
    }

    // MARK: - Life

    /// Takes over a connection that has been established.
    private func adopt(_ established: PQTransfer) throws(DatabaseError) {
        let pq = established.connection
        let watch = SocketWatch(socket: pq.socket) { [weak self] events in
            self?.assumeIsolated { $0.socketIsReady(events) }
        }
        guard pq.setNonBlocking(), let watch else { throw .unavailable("out of descriptors or memory") }
        self.pq = pq
        self.watch = watch
        cancelToken = pq.cancelToken()
        watch.watchReading()
        publishCondition()
    }

    /// Gives the session up at once, whatever it is doing.
    func abandon() {
        isAbandoned = true
        release()
        wake(.abandoned)
    }

    private func release() {
        watch?.cancel()
        watch = nil
        endingError = pq?.notifiedError ?? endingError
        pq = nil
        cancelToken = nil
        statements = StatementCache()
        publishCondition()
    }

    private func publishCondition() {
        let condition: ConnectionCondition =
            if let pq, !isRetired {
                switch pq.transactionStatus {
                case _ where activeTicket != nil: .active
                case .idle: .clean
                case .active, .inTransaction, .failed, .unknown: .inTransaction
                }
            } else {
                .closed
            }
        let previous = sharedCondition.exchange(condition, ordering: .acquiringAndReleasing)
        if condition == .closed, previous != .closed { onClose() }
    }

    // MARK: - Waiting

    /// Waits for an event or the deadline. `timer` and `waiter` are this actor's, so no wake-up can be lost between
    /// a look at libpq's state and the waiting.
    private func wait(for awaited: Awaited, until deadline: ContinuousClock.Instant) async -> Wake {
        guard !isAbandoned else { return .abandoned }
        guard ContinuousClock.now < deadline else { return .deadline }
        let timer = timer ?? makeTimer()
        timer.arm(for: deadline)
        return await withCheckedContinuation { continuation in
            waiter = Waiter(awaited: awaited, deadline: deadline, continuation: continuation)
        }
    }

    private func makeTimer() -> DeadlineTimer {
        let timer = DeadlineTimer { [weak self] in
            self?.assumeIsolated { $0.timerHasFired() }
        }
        self.timer = timer
        return timer
    }

    private func wake(_ wake: Wake) {
        let continuation = waiter?.continuation
        waiter = nil
        continuation?.resume(returning: wake)
    }

    private func timerHasFired() {
        timer?.fired()
        guard let waiter else { return }
        guard waiter.deadline > ContinuousClock.now else { return wake(.deadline) }
        timer?.arm(for: waiter.deadline)
    }

    private func socketIsReady(_ events: Int16) {
        guard let pq, !isLost else { return }
        isHungUp = SocketWatch.isHangUp(events)
        guard activeTicket != nil else { return readWhileIdle(pq) }
        guard let waiter else { return }
        // An exchange takes all results that are there before more is read: with the end of the stream, libpq forgets
        // which statements it has sent, and an error that was on the way is no longer theirs.
        if waiter.awaited == .flush || pq.isBusy { consumeInput(pq) }
        if waiter.awaited == .flush || isLost || isHungUp || !pq.isBusy { wake(.ready) }
    }

    private func readWhileIdle(_ pq: PQConnection) {
        repeat {
            consumeInput(pq)
            // Makes libpq parse what it has read, and so lets notices through.
            _ = pq.isBusy
        } while isHungUp && !isLost
        if isLost { release() }
    }

    private func consumeInput(_ pq: PQConnection) {
        guard !pq.consumeInput() else { return }
        isLost = true
        watch?.cancel()
    }

    // MARK: - Exchanges

    /// Claims the session for one exchange.
    private func begin(ticket: UInt64, deadline: ContinuousClock.Instant) throws(DatabaseError) -> PQConnection {
        guard let pq, !isLost, !isRetired else { throw .connectionLost(pq?.notifiedError ?? endingError) }
        guard activeTicket == nil else { throw .unavailable("the connection is busy with another caller's statement") }
        guard ContinuousClock.now < deadline else { throw .deadlineExceeded }
        activeTicket = ticket
        isCancelRequested = false
        publishCondition()
        return pq
    }

    private func end() {
        activeTicket = nil
        publishCondition()
    }

    private func makeTicket() -> UInt64 {
        lastTicket += 1
        return lastTicket
    }

    private func flush(_ pq: PQConnection, deadline: ContinuousClock.Instant) async throws(Interruption) {
        // What the server sends while it is being sent to must be read, or both wait for each other.
        while !isLost, !isHungUp, pq.flush() == .pending {
            watch?.watchWriting()
            try check(await wait(for: .flush, until: deadline))
        }
        watch?.stopWriting()
    }

    private func nextResult(
        _ pq: PQConnection, deadline: ContinuousClock.Instant
    ) async throws(Interruption) -> PQResult? {
        while !isLost, pq.isBusy {
            if isHungUp { consumeInput(pq) } else { try check(await wait(for: .result, until: deadline)) }
        }
        return pq.nextResult()
    }

    private func check(_ wake: Wake) throws(Interruption) {
        switch wake {
        case .ready: return
        case .deadline: throw .deadline
        case .abandoned: throw .abandoned
        }
    }

    /// The end of an exchange that can't be brought to its own.
    private func giveUp(_ interruption: Interruption) -> DatabaseError {
        switch interruption {
        case .deadline:
            abandon()
            return .deadlineExceeded
        case .abandoned:
            return .connectionLost(nil)
        }
    }

    /// Why libpq didn't take a statement: the connection is broken, or there are too many parameters.
    private func refusal(_ pq: PQConnection) -> DatabaseError {
        pq.isBad || isLost
            ? .connectionLost(pq.notifiedError) : .unavailable("libpq refused the statement: \(pq.errorMessage)")
    }

    /// Sees to what an error says about the session.
    private func note(_ error: ServerError?) {
        guard let error else { return }
        if transactionError == nil { transactionError = error }
        if error.retiresConnection { isRetired = true }
        if error.sqlstate == .readOnlyTransaction { sharedReadOnly.store(true, ordering: .releasing) }
        if error.endsSession, endingError == nil { endingError = error }
    }

    // MARK: - Trips

    private func makeTrip(_ sent: [Statement]) -> (Trip, [StatementCache.Key?]) {
        var steps: [Trip.Step] = []
        var keys: [StatementCache.Key?] = []
        var fresh: [StatementCache.Key: String] = [:]
        for (index, statement) in sent.enumerated() {
            guard settings.preparesStatements, statement.prepared else {
                keys.append(nil)
                steps.append(.execute(statement: index, name: nil))
                continue
            }
            let key = StatementCache.Key(statement)
            keys.append(key)
            if let name = statements.name(for: key) ?? fresh[key] {
                steps.append(.execute(statement: index, name: name))
            } else if statements.hasRoom {
                let name = statements.makeName()
                fresh[key] = name
                steps.append(.prepare(statement: index, name: name))
                steps.append(.execute(statement: index, name: name))
            } else {
                steps.append(.execute(statement: index, name: nil))
            }
        }
        return (Trip(statementCount: sent.count, steps: steps, isPipeline: steps.count > 1), keys)
    }

    private func send(_ step: Trip.Step, of sent: [Statement], _ pq: PQConnection) -> Bool {
        let statement = sent[step.statement]
        return switch step {
        case .prepare(_, let name): pq.prepare(name, statement.sql, statement.parameters)
        case .execute(_, let name?): pq.send(prepared: name, statement.parameters)
        case .execute(_, nil): pq.send(statement.sql, statement.parameters)
        }
    }

    /// Sends statements in one go and takes all answers.
    func trip(_ sent: [Statement], ticket: UInt64? = nil, deadline: ContinuousClock.Instant) async -> Trip {
        if sent.contains(where: \.hasUnstorableText) {
            return Trip(statementCount: sent.count, refusedWith: .server(.unstorableText))
        }
        let pq: PQConnection
        do {
            pq = try begin(ticket: ticket ?? makeTicket(), deadline: deadline)
        } catch {
            return Trip(statementCount: sent.count, refusedWith: error)
        }
        defer { end() }
        var (trip, keys) = makeTrip(sent)
        let isPipeline = trip.steps.count > 1
        await failpoint("before", of: sent)
        do throws(Interruption) {
            if hand(sent, over: pq, &trip, isPipeline: isPipeline) {
                try await flush(pq, deadline: deadline)
                await failpoint("sent", of: sent)
                try await receive(pq, &trip, deadline: deadline)
            } else {
                trip.interruption = refusal(pq)
            }
        } catch {
            trip.interruption = giveUp(error)
        }
        conclude(&trip, keys, pq, isPipeline: isPipeline)
        await failpoint("answered", of: sent)
        return trip
    }

    private func hand(_ sent: [Statement], over pq: PQConnection, _ trip: inout Trip, isPipeline: Bool) -> Bool {
        if isPipeline, !pq.enterPipeline() { return false }
        for step in trip.steps {
            trip.handedOver = step.statement + 1
            guard send(step, of: sent, pq) else { return false }
        }
        return isPipeline ? pq.sync() : true
    }

    private func receive(
        _ pq: PQConnection, _ trip: inout Trip, deadline: ContinuousClock.Instant
    ) async throws(Interruption) {
        var ends = 0
        while !trip.isComplete, trip.interruption == nil, trip.failure?.endsSession != true {
            guard let result = try await nextResult(pq, deadline: deadline) else {
                trip.take(.end)
                ends += 1
                // A broken connection answers NULL for ever.
                if ends > trip.steps.count + 1 { trip.interruption = .connectionLost(pq.notifiedError) }
                continue
            }
            trip.take(Trip.Reply(result))
        }
    }

    private func conclude(_ trip: inout Trip, _ keys: [StatementCache.Key?], _ pq: PQConnection, isPipeline: Bool) {
        note(trip.failure)
        for case .prepare(let statement, let name) in trip.preparedSteps {
            if let key = keys[statement] { statements.remember(name, for: key) }
        }
        if let stale = trip.stalePlan, let key = keys[stale] { statements.forget(key) }
        if case .connectionLost(nil) = trip.interruption {
            trip.interruption = .connectionLost(trip.failure ?? pq.notifiedError)
        }
        let isInStep = trip.isComplete && trip.interruption == nil && !isLost && !pq.isBad
        guard isInStep, !isPipeline || pq.exitPipeline() else { return abandon() }
        if isRetired { release() }
    }
}

extension Connection {
    // MARK: - Statements

    /// Runs one statement, in a transaction of its own unless one is open.
    ///
    /// Cancelling the task cancels the statement on the server. Don't send `COMMIT` this way: see
    /// ``ConnectionPool/withTransaction(deadline:_:)``.
    ///
    /// - Throws: ``DatabaseError/deadlineExceeded`` once the deadline has passed; the connection is closed then, and
    ///   the server is asked to cancel the statement.
    public func query(
        _ statement: Statement, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> QueryResult {
        let trip = try await cancellably { connection, ticket in
            await connection.trip(statement, ticket: ticket, deadline: deadline)
        }
        if let error = trip.error { throw error }
        return trip.results[0]
    }

    /// Runs one statement that changes something, in a transaction of its own, and never cancels it.
    ///
    /// Its COMMIT may be waiting for a synchronous standby. Cancelled, it would end as "committed locally": visible
    /// here, and gone after a failover. So past the deadline the connection is closed, and the server finishes by
    /// itself.
    ///
    /// - Throws: after ``DatabaseError/connectionLost(_:)`` or ``DatabaseError/deadlineExceeded`` nobody knows whether
    ///   it has happened.
    public func perform(
        _ statement: Statement, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> QueryResult {
        guard !Task.isCancelled else { throw .cancelled }
        let trip = await trip(statement, ticket: makeTicket(), deadline: deadline)
        if let error = trip.error { throw error }
        return trip.results[0]
    }

    private func trip(_ statement: Statement, ticket: UInt64, deadline: ContinuousClock.Instant) async -> Trip {
        let trip = await trip([statement], ticket: ticket, deadline: deadline)
        // Nothing was executed, so outside of a transaction the statement can be prepared again.
        guard trip.stalePlan != nil, condition == .clean else { return trip }
        return await self.trip([statement], ticket: ticket, deadline: deadline)
    }

    /// Runs statements in one round trip, as one implicit transaction: if one fails, none has happened.
    ///
    /// The task's cancellation is not heeded once the statements are on their way, because they include the commit.
    ///
    /// - Throws: the first statement's error. After ``DatabaseError/connectionLost(_:)`` or
    ///   ``DatabaseError/deadlineExceeded`` nobody knows whether it has happened.
    ///
    /// Source: PostgreSQL manual, libpq, "Pipeline Mode".
    public func pipelined(
        _ statements: [Statement], deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [QueryResult] {
        guard !statements.isEmpty else { return [] }
        guard !Task.isCancelled else { throw .cancelled }
        let trip = await trip(statements, deadline: deadline)
        if let error = trip.error { throw error }
        return trip.results
    }

    /// Runs a text of several statements by the simple protocol, for migrations. `COPY FROM STDIN` isn't supported.
    ///
    /// Without `BEGIN` in the text, it is one implicit transaction. The task's cancellation is not heeded.
    ///
    /// - Throws: the first error.
    public func script(_ sql: String, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        guard !sql.containsZero else { throw .server(.unstorableText) }
        let pq = try begin(ticket: makeTicket(), deadline: deadline)
        defer { end() }
        var trip = Trip(statementCount: 1, steps: [.execute(statement: 0, name: nil)], isPipeline: false)
        do throws(Interruption) {
            if pq.send(script: sql) {
                try await flush(pq, deadline: deadline)
                try await receive(pq, &trip, deadline: deadline)
            } else {
                trip.interruption = refusal(pq)
            }
        } catch {
            trip.interruption = giveUp(error)
        }
        conclude(&trip, [nil], pq, isPipeline: false)
        if let error = trip.error { throw error }
    }

    private func cancellably(
        _ body: (isolated Connection, UInt64) async -> Trip
    ) async throws(DatabaseError) -> Trip {
        guard !Task.isCancelled else { throw .cancelled }
        let ticket = makeTicket()
        let token = cancelToken
        let trip = await withTaskCancellationHandler {
            await body(self, ticket)
        } onCancel: {
            reactor.call { self.assumeIsolated { $0.cancelStatement(ticket: ticket) } }
        }
        if trip.interruption == .deadlineExceeded, trip.handedOver > 0, let token {
            BlockingWork.start { token.cancel() }
        }
        return try settleCancellation(trip)
    }

    private func cancelStatement(ticket: UInt64) {
        guard activeTicket == ticket, !isCancelRequested, let cancelToken else { return }
        isCancelRequested = true
        BlockingWork.start { cancelToken.cancel() }
    }

    /// A cancellation that hasn't hit its statement may still hit the next one, so the session is closed.
    private func settleCancellation(_ trip: Trip) throws(DatabaseError) -> Trip {
        guard isCancelRequested else { return trip }
        isCancelRequested = false
        if trip.failure?.sqlstate == .queryCanceled { throw .cancelled }
        abandon()
        return trip
    }
}

extension Connection {
    // MARK: - Streams

    /// Runs a statement and hands over its rows one by one, in constant memory.
    ///
    /// The socket isn't read while `body` works, so the server waits for it.
    ///
    /// - Parameters:
    ///   - state: what `body` carries along.
    ///   - body: runs on the connection's own queue. What it throws ends the statement and closes the connection.
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
        guard !statement.hasUnstorableText else { throw DatabaseError.server(.unstorableText) }
        guard !Task.isCancelled else { throw DatabaseError.cancelled }
        let ticket = makeTicket()
        let pq = try begin(ticket: ticket, deadline: deadline)
        defer { end() }
        return try await withTaskCancellationHandler {
            try await receiveRows(pq, statement, deadline: deadline, into: state, body)
        } onCancel: {
            reactor.call { self.assumeIsolated { $0.cancelStatement(ticket: ticket) } }
        }
    }

    /// Runs a statement and hands over its rows one by one, in constant memory.
    public func stream(
        _ statement: Statement,
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Row) throws -> Void
    ) async throws {
        try await stream(statement, deadline: deadline, into: ()) { _, row in try body(row) }
    }

    private func receiveRows<State: Sendable>(
        _ pq: PQConnection,
        _ statement: Statement,
        deadline: ContinuousClock.Instant,
        into initial: State,
        _ body: @Sendable (inout State, Row) throws -> Void
    ) async throws -> State {
        var state = initial
        var trip = Trip(statementCount: 1, steps: [.execute(statement: 0, name: nil)], isPipeline: false)
        do {
            guard pq.send(statement.sql, statement.parameters), pq.setSingleRowMode() else {
                throw refusal(pq)
            }
            try await flush(pq, deadline: deadline)
            while let result = try await nextResult(pq, deadline: deadline) {
                if result.status == .singleRow {
                    for index in 0..<result.rowCount { try body(&state, Row(result: result, index: index)) }
                } else {
                    trip.take(Trip.Reply(result))
                }
                if trip.interruption != nil || trip.failure?.endsSession == true { break }
            }
            trip.take(.end)
        } catch {
            if let cancelToken { BlockingWork.start { cancelToken.cancel() } }
            abandon()
            switch error {
            case Interruption.deadline: throw DatabaseError.deadlineExceeded
            case Interruption.abandoned: throw DatabaseError.connectionLost(nil)
            default: throw error
            }
        }
        conclude(&trip, [nil], pq, isPipeline: false)
        trip = try settleCancellation(trip)
        if let error = trip.error { throw error }
        return state
    }
}

extension Connection {
    // MARK: - Transactions

    /// Runs `BEGIN ISOLATION LEVEL READ COMMITTED`, the statements and `COMMIT` in one round trip.
    ///
    /// It never cancels anything, and doesn't heed the task's cancellation: past the deadline it closes the
    /// connection, and the server may still commit. After an error it sends `ROLLBACK`, so the connection is clean.
    public func transaction(
        _ statements: [Statement], deadline: ContinuousClock.Instant
    ) async -> TransactionOutcome<[QueryResult]> {
        let all =
            [Statement("BEGIN ISOLATION LEVEL READ COMMITTED", prepared: false)] + statements
            + [Statement("COMMIT", prepared: false)]
        var trip = await trip(all, deadline: deadline)
        await rollBackIfOpen(deadline: deadline)
        if trip.stalePlan != nil, condition == .clean {
            // The transaction has been rolled back; preparing the statement again makes it run.
            trip = await self.trip(all, deadline: deadline)
            await rollBackIfOpen(deadline: deadline)
        }
        return trip.transactionOutcome
    }

    /// Opens a transaction for several trips.
    func beginTransaction(deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        transactionError = nil
        let trip = await trip([Statement("BEGIN ISOLATION LEVEL READ COMMITTED", prepared: false)], deadline: deadline)
        if let error = trip.error { throw error }
    }

    /// Commits, without ever cancelling.
    func commit<Value>(_ value: Value, deadline: ContinuousClock.Instant) async -> TransactionOutcome<Value> {
        let cause = transactionError
        let trip = await trip([Statement("COMMIT", prepared: false)], deadline: deadline)
        if let result = trip.results.first {
            return Trip.outcome(commitTag: result.commandTag, value: value, completed: [], cause: cause)
        }
        if let failure = trip.failure { return Trip.outcome(commitError: failure, completed: []) }
        let error = trip.interruption ?? .connectionLost(nil)
        return trip.handedOver == 0 ? .rolledBack(error, completed: []) : .inDoubt(error)
    }

    /// Leaves no transaction behind: rolls back, or closes the connection if that can't be done.
    func rollBackIfOpen(deadline: ContinuousClock.Instant) async {
        guard condition == .inTransaction else { return }
        let trip = await trip([Statement("ROLLBACK", prepared: false)], deadline: deadline)
        if trip.error != nil || condition != .clean { abandon() }
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

extension Statement {
    /// U+0000 ends a C string, so what comes after it would be lost without a word.
    fileprivate var hasUnstorableText: Bool {
        sql.containsZero || parameters.contains { if case .text(let text) = $0 { text.containsZero } else { false } }
    }
}

extension String {
    fileprivate var containsZero: Bool {
        utf8.withContiguousStorageIfAvailable { bytes in
            bytes.baseAddress.map { memchr($0, 0, bytes.count) != nil } ?? false
        } ?? utf8.contains(0)
    }
}

extension ServerError {
    fileprivate static let unstorableText = ServerError(
        sqlstate: .characterNotInRepertoire,
        message: "invalid byte sequence for encoding \"UTF8\": 0x00"
    )
}
