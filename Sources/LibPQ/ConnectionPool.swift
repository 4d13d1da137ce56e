public import Logging
import Metrics
import NIOConcurrencyHelpers

/// A number of sessions that callers borrow.
///
/// The longest-waiting caller gets the next connection. ``run()`` keeps the pool full and checks idle connections;
/// without it, connections are opened on demand, which suits a short-lived command. Connections aren't reset between
/// two callers: use `SET LOCAL`, and no session-level locks.
///
/// ``PoolStateMachine`` decides; this class carries out.
public final class ConnectionPool: Sendable {
    typealias ConnectionID = PoolStateMachine.ConnectionID
    typealias WaiterID = PoolStateMachine.WaiterID

    /// A connection on loan.
    struct Lease: Sendable {
        let id: ConnectionID
        let connection: Connection
    }

    private struct State {
        var machine: PoolStateMachine
        var connections: [ConnectionID: Connection] = [:]
        var waiters: [WaiterID: CheckedContinuation<Result<Lease, DatabaseError>, Never>] = [:]
        var lastWaiter = 0
        /// The attempts to connect that are under way, to be cancelled at shutdown.
        var attempts: [ConnectionID: Task<Void, Never>] = [:]
        var timer: DeadlineTimer?
    }

    /// What is left to do of an action once the state is consistent again.
    private enum Effect {
        case open(ConnectionID)
        case check(ConnectionID, Connection)
        case close(Connection)
        case resume(CheckedContinuation<Result<Lease, DatabaseError>, Never>, Result<Lease, DatabaseError>)
    }

    private let settings: ConnectionSettings
    private let logger: Logger
    private let state: NIOLockedValueBox<State>
    private let inUseGauge: Gauge
    private let waitingGauge: Gauge
    /// The longest time that tidying up after a caller or asking an idle connection may take.
    private let tidyTimeout: Duration = .seconds(2)
    /// Many hosts may have to be tried; each has its own time.
    private let openingTimeout: Duration = .seconds(60)

    /// - Parameter name: the value of the dimension `pool` of the metrics `db_pool_in_use` and `db_pool_waiting`.
    public init(
        settings: ConnectionSettings, configuration: PoolConfiguration, logger: Logger, name: String = "main"
    ) {
        self.settings = settings
        self.logger = logger
        state = NIOLockedValueBox(State(machine: PoolStateMachine(configuration: configuration)))
        inUseGauge = Gauge(label: "db_pool_in_use", dimensions: [("pool", name)])
        waitingGauge = Gauge(label: "db_pool_waiting", dimensions: [("pool", name)])
    }

    public var statistics: PoolStatistics {
        state.withLockedValue { $0.machine.statistics }
    }

    // MARK: - Maintenance

    /// Keeps the pool full and its connections alive, until the task is cancelled; then shuts the pool down.
    public func run() async {
        update { state in
            defer { armNext(&state) }
            return state.machine.maintain(true, now: .now)
        }
        let cancelled = OneShot<Void>()
        await withTaskCancellationHandler {
            await cancelled.value
        } onCancel: {
            cancelled.set(())
        }
        await shutdown()
    }

    /// Closes what is idle and refuses whoever waits or comes. A connection on loan is closed when it comes back.
    public func shutdown() async {
        let attempts = state.withLockedValue { state in
            defer { state.attempts = [:] }
            return Array(state.attempts.values)
        }
        for attempt in attempts { attempt.cancel() }
        for effect in decide({ $0.machine.shutDown() }) {
            if case .close(let connection) = effect { await connection.close() } else { perform(effect) }
        }
        for attempt in attempts { await attempt.value }
    }

    // MARK: - Leases

    /// Lends a connection.
    ///
    /// - Throws: what `body` throws, or ``DatabaseError/unavailable(_:)`` if none could be had before the deadline.
    public func withConnection<R: Sendable>(
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        let lease = try await lease(deadline: deadline)
        do throws(DatabaseError) {
            let result = try await body(lease.connection)
            giveBack(lease)
            return result
        } catch {
            giveBack(lease)
            throw error
        }
    }

    /// Runs statements as one transaction in one round trip. See ``Connection/transaction(_:deadline:)``.
    ///
    /// Without a connection, it is rolled back as ``DatabaseError/unavailable(_:)``.
    public func transaction(
        _ statements: [Statement], deadline: ContinuousClock.Instant
    ) async -> TransactionOutcome<[QueryResult]> {
        do throws(DatabaseError) {
            let lease = try await lease(deadline: deadline)
            let outcome = await lease.connection.transaction(statements, deadline: deadline)
            giveBack(lease)
            return outcome
        } catch {
            return .rolledBack(error, completed: [])
        }
    }

    /// Runs a transaction whose statements depend on each other: `BEGIN`, `body`, `COMMIT`, one by one.
    ///
    /// What `body` throws rolls back. Once `COMMIT` is sent, it is never cancelled.
    public func withTransaction<R: Sendable>(
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection) async throws(DatabaseError) -> R
    ) async -> TransactionOutcome<R> {
        let lease: Lease
        do throws(DatabaseError) {
            lease = try await self.lease(deadline: deadline)
        } catch {
            return .rolledBack(error, completed: [])
        }
        defer { giveBack(lease) }
        let connection = lease.connection
        do throws(DatabaseError) {
            try await connection.beginTransaction(deadline: deadline)
            let result = try await body(connection)
            return await connection.commit(result, deadline: deadline)
        } catch {
            await connection.rollBackIfOpen(deadline: max(deadline, .now + tidyTimeout))
            return .rolledBack(error, completed: [])
        }
    }

    private func lease(deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Lease {
        while true {
            guard !Task.isCancelled else { throw .cancelled }
            let lease = try await wait(deadline: deadline).get()
            if lease.connection.condition == .clean { return lease }
            // It broke between two events.
            giveBack(lease)
        }
    }

    private func wait(deadline: ContinuousClock.Instant) async -> Result<Lease, DatabaseError> {
        let waiter = state.withLockedValue { state in
            state.lastWaiter += 1
            return WaiterID(value: state.lastWaiter)
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                update { state in
                    state.waiters[waiter] = continuation
                    let actions = state.machine.lease(waiter, deadline: deadline, now: .now)
                    if state.machine.isWaiting(waiter) { arm(&state, for: deadline) }
                    return actions
                }
                // The cancellation may have come before the waiter was there to be cancelled.
                if Task.isCancelled { handle { $0.cancel(waiter) } }
            }
        } onCancel: {
            handle { $0.cancel(waiter) }
        }
    }

    private func giveBack(_ lease: Lease) {
        switch lease.connection.condition {
        case .clean:
            handle { $0.giveBack(lease.id, isUsable: true, now: .now) }
        case .connecting, .closed:
            if lease.connection.hasFoundReadOnly { handle { $0.foundReadOnly(now: .now) } }
            handle { $0.giveBack(lease.id, isUsable: false, now: .now) }
        case .active, .inTransaction:
            // The caller needn't wait for this.
            Task {
                await tidy(lease.connection)
                handle { $0.giveBack(lease.id, isUsable: lease.connection.condition == .clean, now: .now) }
            }
        }
    }

    private func tidy(_ connection: Connection) async {
        guard connection.condition == .inTransaction else { return await connection.abandon() }
        logger.warning("a connection came back with an open transaction, which is rolled back")
        await connection.rollBackIfOpen(deadline: .now + tidyTimeout)
    }

    // MARK: - Carrying out

    private func handle(_ event: (inout PoolStateMachine) -> [PoolStateMachine.Action]) {
        update { event(&$0.machine) }
    }

    private func update(_ event: (inout State) -> [PoolStateMachine.Action]) {
        for effect in decide(event) { perform(effect) }
    }

    private func decide(_ event: (inout State) -> [PoolStateMachine.Action]) -> [Effect] {
        let (effects, statistics) = state.withLockedValue { state in
            let actions = event(&state)
            return (actions.compactMap { effect(of: $0, &state) }, state.machine.statistics)
        }
        inUseGauge.record(statistics.inUse)
        waitingGauge.record(statistics.waiting)
        return effects
    }

    private func effect(of action: PoolStateMachine.Action, _ state: inout State) -> Effect? {
        switch action {
        case .open(let id):
            return .open(id)
        case .check(let id):
            return state.connections[id].map { .check(id, $0) }
        case .close(let id):
            return state.connections.removeValue(forKey: id).map { .close($0) }
        case .hand(let id, let waiter):
            guard let continuation = state.waiters.removeValue(forKey: waiter),
                let connection = state.connections[id]
            else { preconditionFailure("the pool handed over what it doesn't have") }
            return .resume(continuation, .success(Lease(id: id, connection: connection)))
        case .fail(let waiter, let error):
            return state.waiters.removeValue(forKey: waiter).map { .resume($0, .failure(error)) }
        }
    }

    private func perform(_ effect: Effect) {
        switch effect {
        case .open(let id):
            open(id)
        case .check(let id, let connection):
            Task {
                let answer = try? await connection.query(
                    Statement("SELECT 1", prepared: false), deadline: .now + tidyTimeout
                )
                let isAlive = answer != nil && connection.condition == .clean
                handle { $0.checked(id, isAlive: isAlive, now: .now) }
            }
        case .close(let connection):
            Task { await connection.close() }
        case .resume(let continuation, let result):
            continuation.resume(returning: result)
        }
    }

    private func open(_ id: ConnectionID) {
        let attempt = Task {
            let result: Result<Connection, DatabaseError>
            do throws(DatabaseError) {
                result = .success(
                    try await Connection.connect(settings, deadline: .now + openingTimeout) { [weak self] in
                        self?.handle { $0.lost(id, now: .now) }
                    }
                )
            } catch {
                result = .failure(error)
            }
            opened(id, result)
        }
        let isOver = state.withLockedValue { state in
            if state.machine.isOpening(id) { state.attempts[id] = attempt }
            return state.machine.isShutDown
        }
        if isOver { attempt.cancel() }
    }

    private func opened(_ id: ConnectionID, _ result: Result<Connection, DatabaseError>) {
        let jitter = Double.random(in: 0...1)
        switch result {
        case .success(let connection):
            var failures = 0
            update { state in
                state.connections[id] = connection
                state.attempts[id] = nil
                failures = state.machine.failures
                return state.machine.opened(id, jitter: jitter, now: .now)
            }
            logger.log(
                level: failures > 0 ? .notice : .debug, "connected to the database",
                metadata: ["failures": "\(failures)"]
            )
            // The end may have come before the pool knew the connection.
            if !connection.isUsable { handle { $0.lost(id, now: .now) } }
        case .failure(let error):
            guard error != .cancelled else { return }
            var failures = 0
            update { state in
                defer { armNext(&state) }
                state.attempts[id] = nil
                let actions = state.machine.openingFailed(id, reason: error.reason, jitter: jitter, now: .now)
                failures = state.machine.failures
                return actions
            }
            // An outage is news once, not with every attempt.
            logger.log(
                level: failures == 1 ? .warning : .debug, "connecting to the database failed",
                metadata: ["error": "\(error)"]
            )
        }
    }

    private func armNext(_ state: inout State) {
        if let next = state.machine.nextTick(.now) { arm(&state, for: next) }
    }

    /// Sets the timer that lets the machine look at deadlines and maintenance.
    private func arm(_ state: inout State, for instant: ContinuousClock.Instant) {
        let timer =
            state.timer
            ?? DeadlineTimer { [weak self] in
                self?.update { state in
                    state.timer?.fired()
                    defer { self?.armNext(&state) }
                    return state.machine.tick(.now)
                }
            }
        state.timer = timer
        timer.arm(for: instant)
    }
}

extension DatabaseError {
    fileprivate var reason: String {
        if case .unavailable(let reason) = self { reason } else { description }
    }
}
