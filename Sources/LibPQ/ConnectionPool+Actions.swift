import Logging
import Metrics
import NIOConcurrencyHelpers

// Events go to the machine, and its actions are performed once the lock is released.

extension ConnectionPool {
    /// What is left to do of an action once the state is consistent again.
    enum Effect {
        case open(ConnectionID)
        case check(ConnectionID, Connection)
        case close(Connection)
        case resume(CheckedContinuation<Result<Lease, DatabaseError>, Never>, Result<Lease, DatabaseError>)
    }

    /// Many hosts may have to be tried; each has its own time.
    private static let openingTimeout: Duration = .seconds(60)

    func handle(_ event: (inout PoolStateMachine) -> [PoolStateMachine.Action]) {
        update { event(&$0.machine) }
    }

    func update(_ event: (inout State) -> [PoolStateMachine.Action]) {
        for effect in decide(event) { perform(effect) }
    }

    func decide(_ event: (inout State) -> [PoolStateMachine.Action]) -> [Effect] {
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
            else { preconditionFailure("the pool handed over a connection that it doesn't have") }
            return .resume(continuation, .success(Lease(id: id, connection: connection)))
        case .fail(let waiter, let error):
            return state.waiters.removeValue(forKey: waiter).map { .resume($0, .failure(error)) }
        }
    }

    func perform(_ effect: Effect) {
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
                    try await Connection.connect(settings, deadline: .now + Self.openingTimeout) { [weak self] in
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
            // The session may have ended before the pool knew the connection.
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
            // Once an outage, not with every attempt.
            logger.log(
                level: failures == 1 ? .warning : .debug, "connecting to the database failed",
                metadata: ["error": "\(error)"]
            )
        }
    }

    func armNext(_ state: inout State) {
        if let next = state.machine.nextTick(.now) { arm(&state, for: next) }
    }

    /// Sets the timer by which the machine checks deadlines and does maintenance.
    func arm(_ state: inout State, for instant: ContinuousClock.Instant) {
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
