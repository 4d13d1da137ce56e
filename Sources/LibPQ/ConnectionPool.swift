public import Logging
import Metrics
import NIOConcurrencyHelpers

/// A set of sessions that callers borrow.
///
/// The caller that has waited longest gets the next connection, unless its group holds half of the pool: see
/// ``withConnection(for:atMost:deadline:_:)``. ``run()`` keeps the pool full and checks idle connections; without it,
/// connections are opened on demand, which suits a short-lived command. Connections aren't reset between two callers:
/// use `SET LOCAL`, and no session-level locks.
///
/// ``PoolStateMachine`` decides; this class performs.
public final class ConnectionPool: Sendable {
    typealias ConnectionID = PoolStateMachine.ConnectionID
    typealias WaiterID = PoolStateMachine.WaiterID

    /// A connection on loan.
    struct Lease: Sendable {
        let id: ConnectionID
        let connection: Connection
    }

    struct State {
        var machine: PoolStateMachine
        var connections: [ConnectionID: Connection] = [:]
        var waiters: [WaiterID: CheckedContinuation<Result<Lease, DatabaseError>, Never>] = [:]
        var lastWaiter = 0
        /// The running attempts to connect, to be canceled at shutdown.
        var attempts: [ConnectionID: Task<Void, Never>] = [:]
        var timer: DeadlineTimer?
    }

    let settings: ConnectionSettings
    let configuration: PoolConfiguration
    /// The pools to the nodes, if the database has several; then this one has a single connection.
    let placement: (any Placement)?
    let branches = NIOLockedValueBox<[Node: ConnectionPool]>([:])
    let name: String
    let logger: Logger
    let state: NIOLockedValueBox<State>
    let inUseGauge: Gauge
    let waitingGauge: Gauge
    /// The longest time that cleaning up after a caller or checking an idle connection may take.
    let tidyTimeout: Duration = .seconds(2)

    /// - Parameters:
    ///   - placement: where the rows of each group are, if the database is spread over several nodes; nil for one server.
    ///   - name: the value of the dimension `pool` of the metrics `db_pool_in_use` and `db_pool_waiting`.
    public init(
        settings: ConnectionSettings, configuration: PoolConfiguration, placement: (any Placement)? = nil,
        logger: Logger, name: String = "main"
    ) {
        self.settings = settings
        self.configuration = configuration
        self.placement = placement
        self.name = name
        self.logger = logger
        var own = configuration
        if placement != nil { own.size = 1 }
        state = NIOLockedValueBox(State(machine: PoolStateMachine(configuration: own)))
        inUseGauge = Gauge(label: "db_pool_in_use", dimensions: [("pool", name)])
        waitingGauge = Gauge(label: "db_pool_waiting", dimensions: [("pool", name)])
    }

    /// How many connections a group holds at most: half of the pool, but one in any case.
    public var share: Int { max(1, configuration.size / 2) }

    var statistics: PoolStatistics {
        state.withLockedValue { $0.machine.statistics }
    }

    /// Whether a connection is open, idle or on loan; to any node, if there are several.
    public var isReachable: Bool {
        statistics.isReachable || branches.withLockedValue { $0.values.contains(where: \.isReachable) }
    }

    // MARK: - Maintenance

    /// Keeps the pool full and its connections alive, until the task is canceled; then shuts the pool down.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            for node in placement?.nodes ?? [] {
                group.addTask { await self.branch(node).run() }
            }
            await runAlone()
        }
    }

    private func runAlone() async {
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

    /// Closes idle connections and refuses all callers, waiting or new. A connection on loan is closed when it comes
    /// back.
    func shutdown() async {
        let attempts = state.withLockedValue { state in
            defer { state.attempts = [:] }
            return Array(state.attempts.values)
        }
        for attempt in attempts { attempt.cancel() }
        for effect in decide({ $0.machine.shutDown() }) {
            if case .close(let connection) = effect { await connection.close() } else { perform(effect) }
        }
        for attempt in attempts { await attempt.value }
        for branch in branches.withLockedValue({ $0.values }) { await branch.shutdown() }
    }

    // MARK: - Leases

    /// Lends a connection.
    ///
    /// - Parameters:
    ///   - group: the tenant that the caller works for. A group never holds more than its ``share``: its further callers
    ///     wait, and others overtake them. nil: no limit.
    ///   - limit: the caller gets a connection only while its group holds fewer, but one in any case.
    /// - Throws: what `body` throws, or ``DatabaseError/unavailable(_:)`` if no connection was free by the deadline.
    public func withConnection<R: Sendable>(
        for group: UUID? = nil,
        atMost limit: Int = .max,
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        let pool = try await home(of: group, deadline: deadline)
        let lease = try await pool.lease(for: group, atMost: limit, deadline: deadline)
        do throws(DatabaseError) {
            let result = try await body(lease.connection)
            pool.giveBack(lease)
            return result
        } catch {
            pool.giveBack(lease)
            throw error
        }
    }

    /// Lends a connection, or one of another pool if this one has none: where sessions are scarce, the pool that came
    /// first may have taken all.
    ///
    /// The caller must not hold a connection of the other pool.
    ///
    /// - Throws: what `body` throws, or ``DatabaseError/unavailable(_:)`` if neither had one by the deadline.
    public func withConnection<R: Sendable>(
        for group: UUID? = nil,
        fallingBackTo substitute: ConnectionPool,
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        do throws(DatabaseError) {
            return try await withConnection(for: group, deadline: deadline, body)
        } catch {
            // It means that nothing was sent.
            guard case .unavailable = error else { throw error }
            return try await substitute.withConnection(for: group, deadline: deadline, body)
        }
    }

    /// Runs statements as one transaction in one round trip. See ``Connection/transaction(_:deadline:)``.
    ///
    /// Without a connection, it is rolled back as ``DatabaseError/unavailable(_:)``.
    ///
    /// - Parameters:
    ///   - group: as in ``withConnection(for:atMost:deadline:_:)``.
    ///   - limit: as in ``withConnection(for:atMost:deadline:_:)``.
    public func transaction(
        for group: UUID? = nil, atMost limit: Int = .max, _ statements: [Statement],
        deadline: ContinuousClock.Instant
    ) async -> TransactionOutcome {
        do throws(DatabaseError) {
            let pool = try await home(of: group, deadline: deadline)
            let lease = try await pool.lease(for: group, atMost: limit, deadline: deadline)
            let outcome = await lease.connection.transaction(statements, deadline: deadline)
            pool.giveBack(lease)
            return outcome
        } catch {
            return .rolledBack(error, completed: [])
        }
    }

    private func lease(
        for group: UUID?, atMost limit: Int, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Lease {
        while true {
            guard !Task.isCancelled else { throw .cancelled }
            let lease = try await wait(for: group, atMost: limit, deadline: deadline).get()
            if lease.connection.condition == .clean { return lease }
            // It broke between two events.
            giveBack(lease)
        }
    }

    private func wait(
        for group: UUID?, atMost limit: Int, deadline: ContinuousClock.Instant
    ) async -> Result<Lease, DatabaseError> {
        let waiter = state.withLockedValue { state in
            state.lastWaiter += 1
            return WaiterID(value: state.lastWaiter)
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                update { state in
                    state.waiters[waiter] = continuation
                    let actions = state.machine.lease(
                        waiter, for: group, atMost: limit, deadline: deadline, now: .now)
                    if state.machine.isWaiting(waiter) { arm(&state, for: deadline) }
                    return actions
                }
                // The cancellation may have come before there was a waiter to cancel.
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
        case .closed:
            handle { $0.giveBack(lease.id, isUsable: false, now: .now) }
        case .closedAsReadOnly:
            handle { $0.foundReadOnly(now: .now) }
            handle { $0.giveBack(lease.id, isUsable: false, now: .now) }
        case .active, .inTransaction:
            // The caller doesn't wait for this.
            Task {
                await tidy(lease.connection)
                handle { $0.giveBack(lease.id, isUsable: lease.connection.condition == .clean, now: .now) }
            }
        }
    }

    private func tidy(_ connection: Connection) async {
        guard connection.condition == .inTransaction else { return await connection.close() }
        logger.warning("a connection was returned with an open transaction, which is rolled back")
        await connection.rollBack(deadline: .now + tidyTimeout)
    }
}

/// The size and the timing of a pool.
public struct PoolConfiguration: Sendable, Hashable {
    /// How many connections there may be. While ``ConnectionPool/run()`` runs, all of them are kept open.
    public var size: Int
    /// A connection that has been idle for longer is checked before it is handed out.
    public var idleCheckAfter: Duration
    /// A connection is replaced after this time, shortened by up to a tenth so that they aren't all replaced together.
    public var maximumLifetime: Duration
    /// The first pause after a failed attempt to connect; it doubles with every further one.
    public var minimumBackoff: Duration
    /// The longest pause between attempts to connect while no caller wants a connection.
    public var maximumBackoff: Duration
    /// The longest pause between attempts to connect while a caller waits for one.
    public var maximumBackoffUnderDemand: Duration

    public init(
        size: Int = 10,
        idleCheckAfter: Duration = .seconds(30),
        maximumLifetime: Duration = .seconds(1800),
        minimumBackoff: Duration = .milliseconds(100),
        maximumBackoff: Duration = .seconds(32),
        maximumBackoffUnderDemand: Duration = .milliseconds(500)
    ) {
        self.size = max(1, size)
        self.idleCheckAfter = idleCheckAfter
        self.maximumLifetime = maximumLifetime
        self.minimumBackoff = minimumBackoff
        self.maximumBackoff = maximumBackoff
        self.maximumBackoffUnderDemand = maximumBackoffUnderDemand
    }
}
