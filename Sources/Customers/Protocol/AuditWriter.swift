public import LibPQ
public import Logging
import Metrics

/// Step ③: commits audit entries, in transactions of their own, before the answers that they are about leave.
///
/// Group commit: entries that wait when the previous group is done are all in the next one, so that many share one flush.
/// Appending is repeatable, so a group whose COMMIT is in doubt is simply appended again. Strangers have a queue and a
/// connection of their own, so that a flood of wrong credentials delays no tenant.
public struct AuditWriter: Sendable {
    private let tenants: AppendQueue
    private let strangers: AppendQueue
    private let givenUp: GivenUpAttempts

    /// - Parameters:
    ///   - tenants: a pool of one connection.
    ///   - strangers: another.
    ///   - held: another, for chains whose head is locked by another transaction.
    ///   - substitute: a pool to fall back to when these can't have their connections. Callers hold none of it.
    ///   - feed: hears of every chain that is appended to.
    public init(
        tenants: ConnectionPool, strangers: ConnectionPool, held: ConnectionPool, substitute: ConnectionPool,
        feed: EventFeed, givenUp: GivenUpAttempts, logger: Logger
    ) {
        self.givenUp = givenUp
        self.tenants = AppendQueue(
            pool: tenants, heldPool: held, substitute: substitute, feed: feed, logger: logger, chain: "tenants")
        self.strangers = AppendQueue(
            pool: strangers, heldPool: held, substitute: substitute, feed: feed, logger: logger, chain: "strangers")
    }

    /// Returns when the entry is durable.
    ///
    /// - Returns: the outcome that the trail holds for this attempt, nil when the attempt wasn't ours to record any
    ///   more.
    /// - Throws: when it isn't known to be durable by the deadline; then the attempt is given up.
    @discardableResult
    func append(_ entry: AuditEntry, deadline: ContinuousClock.Instant) async throws(DatabaseError) -> Outcome? {
        guard entry.appID != .zero else { return try await strangers.append(entry, deadline: deadline).get() }
        do {
            return try await tenants.append(entry, deadline: deadline).get()
        } catch {
            givenUp.add(entry.id)
            throw error
        }
    }
}

/// Entries that wait for their turn, by app. One trip at a time appends what waits for all chains that are free; a chain
/// whose head another transaction holds, or that couldn't be appended to the last time, is tried apart, on a connection of
/// its own, so that it delays no other.
private actor AppendQueue {
    /// The outcome that the trail holds, nil when the attempt isn't ours to record.
    typealias Recorded = Result<Outcome?, DatabaseError>

    private struct Waiter {
        let entry: AuditEntry
        let deadline: ContinuousClock.Instant
        let arrival = ContinuousClock.now
        let continuation: CheckedContinuation<Recorded, Never>
    }

    /// The entries of one trip, by app and in the order of the chains' locks.
    private typealias Group = [(appID: UUID, waiters: [Waiter])]

    private static let largestGroup = 128
    /// What a group gets although one of its entries has less: else a late entry after another would let none succeed.
    private static let leastTime = Duration.milliseconds(250)
    /// The round of ``Backoff`` after which pauses grow no longer: they stay far below the shortest time limit, so an
    /// entry that arrives while nothing works is still there when it works again.
    private static let longestPause = 4
    /// Milliseconds for which a held chain's turn waits for its head.
    private static let headWait = 25

    private let pool: ConnectionPool
    private let heldPool: ConnectionPool
    private let substitute: ConnectionPool
    private let feed: EventFeed
    private let logger: Logger
    private let waitingGauge: Gauge
    private let appendTimer: Metrics.Timer
    private let headTimeGauge: Gauge
    private var ready: [Waiter] = []
    private var held: [UUID: [Waiter]] = [:]
    /// The apps whose chains couldn't be appended to the last time.
    private var broken: Set<UUID> = []
    private var isWriting = false
    private var isWritingHeld = false

    /// - Parameter chain: the value of the dimension `chain` of this queue's metrics.
    init(
        pool: ConnectionPool, heldPool: ConnectionPool, substitute: ConnectionPool, feed: EventFeed, logger: Logger,
        chain: String
    ) {
        self.pool = pool
        self.heldPool = heldPool
        self.substitute = substitute
        self.feed = feed
        self.logger = logger
        let dimensions = [("chain", chain)]
        waitingGauge = Gauge(label: "customerd_audit_waiting", dimensions: dimensions)
        appendTimer = Metrics.Timer(label: "customerd_audit_append_duration_seconds", dimensions: dimensions)
        headTimeGauge = Gauge(label: "customerd_audit_head_timestamp_seconds", dimensions: dimensions)
    }

    func append(_ entry: AuditEntry, deadline: ContinuousClock.Instant) async -> Recorded {
        await withCheckedContinuation { continuation in
            enqueue([Waiter(entry: entry, deadline: deadline, continuation: continuation)])
        }
    }

    private func enqueue(_ waiters: [Waiter]) {
        for waiter in waiters {
            if held[waiter.entry.appID] != nil || broken.contains(waiter.entry.appID) {
                held[waiter.entry.appID, default: []].append(waiter)
            } else {
                ready.append(waiter)
            }
        }
        publish()
        startHeld()
        guard !ready.isEmpty, !isWriting else { return }
        isWriting = true
        // Where the connections are: elsewhere each of its steps would be a switch of threads.
        Task(executorPreference: Reactor.shared.taskExecutor) { await self.write() }
    }

    private func publish() {
        waitingGauge.record(ready.count + held.values.reduce(0) { $0 + $1.count })
    }

    // MARK: - Chains that are free

    private func write() async {
        var round = 1
        while !ready.isEmpty {
            dismissExpired(&ready)
            let group = takeGroup()
            guard !group.isEmpty else { continue }
            do {
                let appended = try await commit(group)
                for (appID, waiters) in group { answer(appID, waiters, appended) }
                round = 1
            } catch {
                guard Self.isOfDatabase(error) else {
                    await commitOneByOne(group)
                    continue
                }
                warn(error)
                ready.insert(contentsOf: group.flatMap(\.waiters), at: 0)
                round = min(round + 1, Self.longestPause)
                await Backoff.pause(round: round, until: .now + .seconds(1))
            }
        }
        isWriting = false
        publish()
    }

    private func takeGroup() -> Group {
        let taken = ready.prefix(Self.largestGroup)
        ready.removeFirst(taken.count)
        return Dictionary(grouping: taken, by: \.entry.appID).sorted { $0.key.text < $1.key.text }
            .map { (appID: $0.key, waiters: $0.value) }
    }

    /// Answers the entries that were appended; where some weren't reached, the chain is held by another transaction.
    private func answer(_ appID: UUID, _ waiters: [Waiter], _ appended: [UUID: Outcome?]) {
        var missed: [Waiter] = []
        for waiter in waiters {
            guard let outcome = appended[waiter.entry.id] else {
                missed.append(waiter)
                continue
            }
            appendTimer.record(duration: ContinuousClock.now - waiter.arrival)
            waiter.continuation.resume(returning: .success(outcome))
        }
        headTimeGauge.record(Date().timeIntervalSince1970)
        feed.appended(appID)
        if !missed.isEmpty { setAside(appID, missed) }
    }

    private func setAside(_ appID: UUID, _ waiters: [Waiter]) {
        held[appID, default: []] += waiters
        ready.removeAll { waiter in
            guard waiter.entry.appID == appID else { return false }
            held[appID]?.append(waiter)
            return true
        }
        startHeld()
    }

    private func startHeld() {
        guard !held.isEmpty, !isWritingHeld else { return }
        isWritingHeld = true
        Task(executorPreference: Reactor.shared.taskExecutor) { await self.writeHeld() }
    }

    /// Appends what waits for several chains in one transaction, which waits for none of them.
    private func commit(_ group: Group) async throws(DatabaseError) -> [UUID: Outcome?] {
        let statements = group.map { statement($0.appID, $0.waiters, waiting: 0) }
        let deadline = deadline(group.flatMap(\.waiters))
        let results: [QueryResult]
        if statements.count == 1 {
            results = [try await perform(statements[0], pool, deadline: deadline)]
        } else {
            results = try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
                connection throws(DatabaseError) in
                switch await connection.transaction(statements, deadline: deadline) {
                case .committed(let results): return results
                case .rolledBack(let error, _), .inDoubt(let error): throw error
                }
            }
        }
        var appended: [UUID: Outcome?] = [:]
        for result in results { try Self.read(result, into: &appended) }
        return appended
    }

    /// Appends to each chain separately, since one of them, or one of the entries, caused the failure. That one is set aside.
    private func commitOneByOne(_ group: Group) async {
        for one in group {
            // Alone it has failed already.
            if group.count > 1, let appended = try? await commit([one]) {
                answer(one.appID, one.waiters, appended)
            } else {
                setAside(one.appID, one.waiters)
            }
        }
    }

    // MARK: - Chains that another transaction holds, or that are broken

    /// Gives each held chain a short turn after the other, until none is left.
    private func writeHeld() async {
        var round = 1
        while !held.isEmpty {
            var hasSucceeded = false
            for appID in held.keys.sorted(by: { $0.text < $1.text }) {
                hasSucceeded = await writeHeld(appID) || hasSucceeded
            }
            round = hasSucceeded ? 1 : min(round + 1, Self.longestPause)
            if !held.isEmpty { await Backoff.pause(round: round, until: .now + .seconds(1)) }
        }
        isWritingHeld = false
    }

    private func writeHeld(_ appID: UUID) async -> Bool {
        var waiters = held[appID] ?? []
        dismissExpired(&waiters)
        held[appID] = []
        let group = Array(waiters.prefix(Self.largestGroup))
        let rest = waiters.dropFirst(Self.largestGroup)
        guard !group.isEmpty else {
            release(appID, [])
            return true
        }
        do {
            let appended = try await commitAside(appID, group)
            broken.remove(appID)
            release(appID, Array(rest))
            answer(appID, group, appended)
            return true
        } catch {
            if error.maySucceedLater {
                if error.sqlstate != .lockNotAvailable { warn(error) }
                held[appID]?.insert(contentsOf: waiters, at: 0)
                return false
            }
            if broken.insert(appID).inserted {
                logger.error(
                    "the chain of an app can't be appended to",
                    metadata: ["app": "\(appID.text)", "error": "\(error)"])
            }
            for waiter in group { waiter.continuation.resume(returning: .failure(error)) }
            release(appID, Array(rest))
            return true
        }
    }

    /// Appends to one chain, its entries one by one if they can't be stored together.
    private func commitAside(_ appID: UUID, _ waiters: [Waiter]) async throws(DatabaseError) -> [UUID: Outcome?] {
        let deadline = deadline(waiters)
        let result: QueryResult
        do throws(DatabaseError) {
            result = try await perform(
                statement(appID, waiters, waiting: Self.headWait), heldPool, deadline: deadline)
        } catch {
            guard Self.isPoisoned(error) else { throw error }
            let statement = Statement(
                "SELECT id, seq, outcome FROM service.append_each($1, $2, $3)",
                Self.parameters(appID, waiters) + [.int(Self.headWait)])
            result = try await perform(statement, heldPool, deadline: deadline)
        }
        var appended: [UUID: Outcome?] = [:]
        try Self.read(result, into: &appended)
        return appended
    }

    /// The chain is no longer set aside: what waits for it goes with the others, unless it is broken.
    private func release(_ appID: UUID, _ waiters: [Waiter]) {
        let arrived = held.removeValue(forKey: appID) ?? []
        enqueue(waiters + arrived)
    }

    // MARK: - Trips

    private func statement(_ appID: UUID, _ waiters: [Waiter], waiting milliseconds: Int) -> Statement {
        Statement(
            "SELECT id, seq, outcome FROM service.append($1, $2, $3)",
            Self.parameters(appID, waiters) + [.int(milliseconds)])
    }

    private static func parameters(_ appID: UUID, _ waiters: [Waiter]) -> [Parameter] {
        [.uuid(appID), .text("[" + waiters.map(\.entry.json).joined(separator: ",") + "]")]
    }

    private func perform(
        _ statement: Statement, _ pool: ConnectionPool, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> QueryResult {
        try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.perform(statement, deadline: deadline)
        }
    }

    /// Decodes rows of `service.appended`.
    private static func read(_ result: QueryResult, into appended: inout [UUID: Outcome?]) throws(DatabaseError) {
        for row in result.rows {
            let id: UUID = try row.get("id")
            let outcome: Outcome? = row["seq"] == nil ? nil : try row.get("outcome")
            appended.updateValue(outcome, forKey: id)
        }
    }

    private func deadline(_ waiters: [Waiter]) -> ContinuousClock.Instant {
        max(waiters.map(\.deadline).min() ?? .now, .now + Self.leastTime)
    }

    /// Fails expired waiters first so that they don't use up the group's deadline.
    private func dismissExpired(_ waiters: inout [Waiter]) {
        let now = ContinuousClock.now
        for waiter in waiters where waiter.deadline <= now {
            waiter.continuation.resume(returning: .failure(.deadlineExceeded))
        }
        waiters.removeAll { $0.deadline <= now }
    }

    private func warn(_ error: DatabaseError) {
        logger.warning("audit entries can't be appended now", metadata: ["error": "\(error)"])
    }

    /// Whether an error isn't about one chain or one entry.
    private static func isOfDatabase(_ error: DatabaseError) -> Bool {
        switch error.sqlstate {
        case .lockNotAvailable, .queryCanceled: false
        default: error.isUnavailability
        }
    }

    /// Whether an entry can't be stored as it is: data exceptions, violated constraints, values that are too large.
    private static func isPoisoned(_ error: DatabaseError) -> Bool {
        ["22", "23", "54"].contains(error.sqlstate?.errorClass)
    }
}
