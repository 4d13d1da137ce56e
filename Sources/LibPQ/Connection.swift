import Synchronization

/// One session of the database.
///
/// Its holder has it alone: while a statement runs, a second caller is refused with
/// ``DatabaseError/unavailable(_:)``. Waiting never blocks a thread.
///
/// ``SessionStateMachine`` decides; this actor performs. `Connection+Exchange.swift` sends and receives, and
/// `Connection+Statements.swift` is what callers use.
public actor Connection {
    public nonisolated var unownedExecutor: UnownedSerialExecutor { reactor.asUnownedSerialExecutor() }
    nonisolated let reactor = Reactor.shared
    private nonisolated let sharedCondition = Atomic(SessionStateMachine.Condition.clean)

    let settings: ConnectionSettings
    private let onClose: @Sendable () -> Void
    private(set) var machine = SessionStateMachine() {
        didSet { publishCondition() }
    }
    /// nil once the session is closed.
    private(set) var pq: PQConnection?
    private var cancelToken: PQCancelToken?
    private(set) var watch: SocketWatch?
    private var timer: DeadlineTimer?
    /// The exchange that is suspended.
    private var continuation: CheckedContinuation<SessionStateMachine.Wake, Never>?
    var statements = StatementCache()

    private init(settings: ConnectionSettings, onClose: @escaping @Sendable () -> Void) {
        self.settings = settings
        self.onClose = onClose
    }

    /// Opens a session.
    ///
    /// Name lookup blocks, so it runs on a thread of its own; it doesn't delay the caller past the deadline.
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

    /// - Parameter onClose: called once, when the session has ended.
    static func connect(
        _ settings: ConnectionSettings, deadline: ContinuousClock.Instant, onClose: @escaping @Sendable () -> Void
    ) async throws(DatabaseError) -> Connection {
        let established = try await Connector(settings: settings, deadline: deadline).connect()
        let connection = Connection(settings: settings, onClose: onClose)
        try await connection.adopt(established)
        try await connection.pinParameters(deadline: min(deadline, .now + settings.connectTimeout))
        return connection
    }

    /// Takes over a connection that has been established.
    private func adopt(_ established: PQTransfer) throws(DatabaseError) {
        let pq = established.connection
        let watch = SocketWatch(socket: pq.socket) { [weak self] events in
            self?.assumeIsolated {
                $0.handle { $0.socketIsReady(isHungUp: SocketWatch.isHangUp(events)) }
            }
        }
        guard pq.setNonBlocking(), let watch else { throw .unavailable("out of descriptors or memory") }
        self.pq = pq
        self.watch = watch
        cancelToken = pq.cancelToken()
        watch.watchReading()
    }

    private func pinParameters(deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        do throws(DatabaseError) {
            try await script(SessionParameter.script(ofNode: settings.node != nil), deadline: deadline)
        } catch {
            close()
            throw error == .deadlineExceeded
                ? .connectDeadlinePassed : .unavailable("setting the session's parameters failed: \(error)")
        }
    }

    nonisolated var condition: SessionStateMachine.Condition {
        sharedCondition.load(ordering: .acquiring)
    }

    /// Whether the session is open. It notices a server that closes the connection while no statement runs.
    public nonisolated var isUsable: Bool {
        !condition.isClosed
    }

    /// Ends the session. A statement that is running ends with ``DatabaseError/connectionLost(_:)``.
    public func close() {
        handle { $0.abandon() }
    }

    // MARK: - Events and actions

    /// Performs what the machine decides about an event.
    func handle(_ event: (inout SessionStateMachine) -> [SessionStateMachine.Action]) {
        for action in event(&machine) { perform(action) }
    }

    private func perform(_ action: SessionStateMachine.Action) {
        switch action {
        case .read: read()
        case .readToEnd: while read() {}
        case .stopWatching: watch?.cancel()
        case .setTimer(let instant): timer?.arm(for: instant)
        case .cancelStatement:
            if let cancelToken { BlockingWork.start { cancelToken.cancel() } }
        case .resume(let wake):
            let continuation = continuation
            self.continuation = nil
            continuation?.resume(returning: wake)
        case .close:
            watch?.cancel()
            watch = nil
            pq = nil
            cancelToken = nil
            statements = StatementCache()
        }
    }

    /// - Returns: false once the socket has failed.
    @discardableResult
    func read() -> Bool {
        guard let pq else { return false }
        let isIntact = pq.consumeInput()
        // Makes libpq parse what it has read, and so passes on notices.
        let isBusy = pq.isBusy
        handle { $0.hasRead(isIntact: isIntact, isBusy: isBusy, lastWords: pq.notifiedError) }
        return isIntact
    }

    private func publishCondition() {
        let condition = machine.condition
        let previous = sharedCondition.exchange(condition, ordering: .acquiringAndReleasing)
        if condition.isClosed, !previous.isClosed { onClose() }
    }

    // MARK: - Waiting

    /// Waits for an event or the deadline.
    ///
    /// The machine is told within the continuation's closure: calling `withCheckedContinuation` may suspend before that,
    /// and an event that found the machine suspended without a continuation would be lost, the deadline's too.
    func wait(
        for event: SessionStateMachine.Event, until deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) {
        let wake = await withCheckedContinuation { continuation in
            if let immediate = machine.suspend(for: event, until: deadline, now: .now) {
                continuation.resume(returning: immediate)
            } else {
                self.continuation = continuation
                let timer = timer ?? makeTimer()
                timer.arm(for: deadline)
            }
        }
        switch wake {
        case .ready: return
        case .closed: throw .connectionLost(nil)
        case .deadline:
            handle { $0.giveUp() }
            throw .deadlineExceeded
        }
    }

    private func makeTimer() -> DeadlineTimer {
        let timer = DeadlineTimer { [weak self] in
            self?.assumeIsolated { $0.timerHasFired() }
        }
        self.timer = timer
        return timer
    }

    private func timerHasFired() {
        timer?.fired()
        handle { $0.timerHasFired(now: .now) }
    }

    // MARK: - Claims

    /// Claims the session for the caller's exchange, which ``finish(wasCancelled:)`` ends.
    ///
    /// - Parameter isCancellable: whether the server may be asked to cancel its statement: never one that commits.
    @discardableResult
    func begin(
        isCancellable: Bool = false, deadline: ContinuousClock.Instant
    ) throws(DatabaseError) -> SessionStateMachine.Ticket {
        try machine.begin(isCancellable: isCancellable, deadline: deadline, now: .now)
    }

    func finish(wasCancelled: Bool = false) {
        let (isInTransaction, lastWords) = (hasOpenTransaction, pq?.notifiedError)
        handle {
            $0.finish(isInTransaction: isInTransaction, wasCancelled: wasCancelled, lastWords: lastWords)
        }
    }

    /// Whether a transaction is open or has failed.
    var hasOpenTransaction: Bool {
        pq.map { $0.transactionStatus != .idle } ?? false
    }
}
