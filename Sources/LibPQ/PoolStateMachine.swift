/// The decisions of a pool: events in, actions out. No I/O, no clock, no random numbers.
///
/// Every waiter passed to ``lease(_:for:atMost:deadline:now:)`` comes out exactly once, as `hand` or `fail`.
struct PoolStateMachine {
    typealias Instant = ContinuousClock.Instant

    struct ConnectionID: Hashable, Sendable {
        var value: Int
    }

    struct WaiterID: Hashable, Sendable {
        var value: Int
    }

    enum Action: Hashable, Sendable {
        case open(ConnectionID)
        /// Ask the server whether the connection is alive.
        case check(ConnectionID)
        case close(ConnectionID)
        case hand(ConnectionID, to: WaiterID)
        case fail(WaiterID, DatabaseError)
    }

    private enum Slot: Equatable {
        case opening
        case idle(since: Instant, retireAt: Instant)
        case checking(retireAt: Instant)
        case leased(to: UUID?, retireAt: Instant)

        var isOpen: Bool {
            if case .opening = self { false } else { true }
        }
    }

    /// The state since connecting last failed.
    fileprivate struct Outage {
        var failures: Int
        var since: Instant
        var pause: Duration
        var reason: String
    }

    private static let replacementPause = Duration.seconds(5)

    private let configuration: PoolConfiguration
    private var slots: [ConnectionID: Slot] = [:]
    /// The idle connections, the one used last at the end: it is handed out first, since its caches are warm.
    private var idle: [ConnectionID] = []
    private var queue = PoolQueue()
    private var outage: Outage?
    private var lastReplacement: Instant?
    private var nextConnection = 0
    private(set) var isMaintained = false
    private(set) var isShutDown = false

    init(configuration: PoolConfiguration) {
        self.configuration = configuration
    }

    // MARK: - Events from callers

    /// A caller wants a connection.
    ///
    /// - Parameters:
    ///   - group: it holds at most half of the pool, but one connection in any case; nil for no limit.
    ///   - limit: the waiter gets a connection only while its group holds fewer.
    mutating func lease(
        _ waiter: WaiterID, for group: UUID? = nil, atMost limit: Int = .max, deadline: Instant, now: Instant
    ) -> [Action] {
        if isShutDown { return [.fail(waiter, .poolIsClosed)] }
        if deadline <= now { return [.fail(waiter, .poolIsExhausted)] }
        if let outage, isUnreachable, !mayTry(now, isDemanded: true) { return [.fail(waiter, .unreachable(outage))] }
        queue.append(waiter, group: group, limit: max(1, limit), deadline: deadline)
        return settle(now)
    }

    /// A caller stops waiting. Nothing happens if it has received a connection in the meantime.
    mutating func cancel(_ waiter: WaiterID) -> [Action] {
        queue.remove(waiter) ? [.fail(waiter, .cancelled)] : []
    }

    /// A lease has ended.
    mutating func giveBack(_ connection: ConnectionID, isUsable: Bool, now: Instant) -> [Action] {
        guard case .leased(let group, let retireAt) = slots[connection] else { return [] }
        queue.release(group)
        return takeBack(connection, isUsable: isUsable, retireAt: retireAt, now: now)
    }

    // MARK: - Events from connections

    /// - Parameter jitter: from 0 to 1.
    mutating func opened(_ connection: ConnectionID, jitter: Double, now: Instant) -> [Action] {
        guard slots[connection] == .opening else { return [.close(connection)] }
        outage = nil
        let retireAt = now + configuration.maximumLifetime * (1 - jitter / 10)
        return takeBack(connection, isUsable: true, retireAt: retireAt, now: now)
    }

    /// - Parameter jitter: from 0 to 1.
    mutating func openingFailed(_ connection: ConnectionID, reason: String, jitter: Double, now: Instant) -> [Action] {
        guard slots[connection] == .opening else { return [] }
        slots[connection] = nil
        // Attempts that were under way together are one failure, not several.
        let isNews = outage.map { $0.since + $0.pause <= now } ?? true
        let failures = (outage?.failures ?? 0) + (isNews ? 1 : 0)
        let doubled = configuration.minimumBackoff * (1 << min(failures - 1, 20))
        let pause = min(doubled, configuration.maximumBackoff) * (0.5 + jitter / 2)
        if isNews { outage = Outage(failures: failures, since: now, pause: pause, reason: reason) }
        guard let outage, isUnreachable else { return settle(now) }
        return failAll(with: .unreachable(outage))
    }

    /// The session of an open connection has ended.
    mutating func lost(_ connection: ConnectionID, now: Instant) -> [Action] {
        switch slots[connection] {
        case .idle:
            slots[connection] = nil
            idle.removeAll { $0 == connection }
            return [.close(connection)] + settle(now)
        case .leased, .checking, .opening, nil:
            // Its user will report it.
            return []
        }
    }

    /// A server has turned read-only, as after a failover. Its sessions stay open, but are useless: all connections are
    /// replaced, those on loan when they come back.
    ///
    /// At most once in five seconds, so that a database that stays read-only isn't connected to in a loop.
    mutating func foundReadOnly(now: Instant) -> [Action] {
        if let lastReplacement, now < lastReplacement + Self.replacementPause { return [] }
        lastReplacement = now
        for (connection, slot) in slots {
            switch slot {
            case .opening: break
            case .idle(let since, _): slots[connection] = .idle(since: since, retireAt: now)
            case .checking: slots[connection] = .checking(retireAt: now)
            case .leased(let group, _): slots[connection] = .leased(to: group, retireAt: now)
            }
        }
        return tick(now)
    }

    mutating func checked(_ connection: ConnectionID, isAlive: Bool, now: Instant) -> [Action] {
        guard case .checking(let retireAt) = slots[connection] else { return [] }
        return takeBack(connection, isUsable: isAlive, retireAt: retireAt, now: now)
    }

    // MARK: - Events in time

    /// From now on the pool is kept full, or no longer.
    mutating func maintain(_ isMaintained: Bool, now: Instant) -> [Action] {
        self.isMaintained = isMaintained
        return tick(now)
    }

    /// Does what is due.
    mutating func tick(_ now: Instant) -> [Action] {
        var actions = queue.removeExpired(now).map { Action.fail($0, .poolIsExhausted) }
        for connection in idle {
            guard case .idle(let since, let retireAt) = slots[connection] else { continue }
            if retireAt <= now {
                slots[connection] = nil
                actions.append(.close(connection))
            } else if isMaintained, since + configuration.idleCheckAfter < now {
                slots[connection] = .checking(retireAt: retireAt)
                actions.append(.check(connection))
            }
        }
        idle.removeAll { if case .idle = slots[$0] { false } else { true } }
        return actions + settle(now)
    }

    /// When ``tick(_:)`` has something to do next, if nothing else happens.
    func nextTick(_ now: Instant) -> Instant? {
        var next = queue.nextDeadline
        func consider(_ instant: Instant) { next = next.map { min($0, instant) } ?? instant }
        guard isMaintained, !isShutDown else { return next }
        consider(now + .seconds(1))
        if let outage { consider(max(now, outage.since + outage.pause)) }
        return next
    }

    mutating func shutDown() -> [Action] {
        isShutDown = true
        isMaintained = false
        let closing = idle.map { Action.close($0) }
        for connection in idle { slots[connection] = nil }
        idle = []
        for (connection, slot) in slots where slot == .opening { slots[connection] = nil }
        return failAll(with: .poolIsClosed) + closing
    }

    // MARK: - State

    var statistics: PoolStatistics {
        let open = slots.values.count { $0.isOpen }
        let leased = slots.values.count { if case .leased = $0 { true } else { false } }
        return PoolStatistics(
            size: open, idle: idle.count, inUse: leased, waiting: queue.count, isReachable: open > 0
        )
    }

    /// How often connecting has failed since it last succeeded.
    var failures: Int {
        outage?.failures ?? 0
    }

    func isOpening(_ connection: ConnectionID) -> Bool {
        slots[connection] == .opening
    }

    func isWaiting(_ waiter: WaiterID) -> Bool {
        queue.contains(waiter)
    }

    /// The last attempt to connect has failed, and nothing is open.
    private var isUnreachable: Bool {
        outage != nil && !slots.values.contains { $0.isOpen }
    }

    private func mayTry(_ now: Instant, isDemanded: Bool) -> Bool {
        guard let outage else { return true }
        if isUnreachable, !slots.isEmpty { return false }
        let pause = isDemanded ? min(outage.pause, configuration.maximumBackoffUnderDemand) : outage.pause
        return outage.since + pause <= now
    }

    private mutating func takeBack(
        _ connection: ConnectionID, isUsable: Bool, retireAt: Instant, now: Instant
    ) -> [Action] {
        guard isUsable, retireAt > now, !isShutDown else {
            slots[connection] = nil
            return [.close(connection)] + settle(now)
        }
        slots[connection] = .idle(since: now, retireAt: retireAt)
        idle.append(connection)
        return settle(now)
    }

    /// Brings waiters and idle connections together, and opens connections that are missing.
    private mutating func settle(_ now: Instant) -> [Action] {
        guard !isShutDown else { return [] }
        var actions: [Action] = []
        while served > 0, let connection = idle.popLast() {
            guard case .idle(let since, let retireAt) = slots[connection] else { continue }
            if retireAt <= now {
                slots[connection] = nil
                actions.append(.close(connection))
            } else if since + configuration.idleCheckAfter < now {
                slots[connection] = .checking(retireAt: retireAt)
                actions.append(.check(connection))
                // It counts for one waiter; the others get further connections.
                if becomingIdle >= served { break }
            } else if let (waiter, group) = queue.popFirst(share: share) {
                slots[connection] = .leased(to: group, retireAt: retireAt)
                actions.append(.hand(connection, to: waiter))
            }
        }
        while slots.count < configuration.size, isWanting, mayTry(now, isDemanded: served > 0) {
            let connection = ConnectionID(value: nextConnection)
            nextConnection += 1
            slots[connection] = .opening
            actions.append(.open(connection))
            // After a failure one attempt is enough to see whether it is over.
            if outage != nil { break }
        }
        return actions
    }

    private var becomingIdle: Int {
        slots.values.count { slot in
            switch slot {
            case .opening, .checking: true
            case .idle, .leased: false
            }
        }
    }

    private var isWanting: Bool {
        isMaintained || becomingIdle < served
    }

    /// How many waiters would get a connection if enough were idle.
    private var served: Int {
        queue.served(share: share)
    }

    /// How many connections a group may hold. While connecting fails, those that are open are all that there are.
    private var share: Int {
        let size = outage == nil ? configuration.size : slots.values.count { $0.isOpen }
        return max(1, size / 2)
    }

    private mutating func failAll(with error: DatabaseError) -> [Action] {
        queue.removeAll().map { .fail($0, error) }
    }
}

extension DatabaseError {
    static let poolIsClosed = DatabaseError.unavailable("the pool is closed")
    static let poolIsExhausted = DatabaseError.unavailable("no connection became free before the deadline")

    fileprivate static func unreachable(_ outage: PoolStateMachine.Outage) -> DatabaseError {
        .unavailable(outage.reason)
    }
}

/// A pool at one moment.
struct PoolStatistics: Hashable {
    /// The connections that are open.
    var size: Int
    /// Of these, the ones that wait to be used.
    var idle: Int
    /// Of these, the ones that are on loan.
    var inUse: Int
    /// The callers that wait for a connection.
    var waiting: Int
    /// Whether a connection is open. False before the first has been opened, too.
    var isReachable: Bool
}
