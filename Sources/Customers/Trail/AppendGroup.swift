import LibPQ
import Logging
import Metrics

/// The queue of one writer: entries that wait, and at most one group under way.
actor AppendGroup {
    typealias Answer = Swift.Result<Outcome?, DatabaseError>

    private struct Waiter {
        let entry: AuditEntry
        let deadline: ContinuousClock.Instant
        let arrival = ContinuousClock.now
        let continuation: CheckedContinuation<Answer, Never>
    }

    private static let largestGroup = 128
    /// What a group gets although somebody in it has less: else one who is late after another would let none succeed.
    private static let leastTime = Duration.milliseconds(250)
    /// The round of ``Backoff`` after which pauses grow no longer: they stay far below the shortest time limit, so
    /// whoever comes while nothing works is still there when it works again.
    private static let longestPause = 4

    private let pool: ConnectionPool
    private let substitute: ConnectionPool
    private let logger: Logger
    private let waitingGauge: Gauge
    private let appendTimer: Metrics.Timer
    private let headTimeGauge: Gauge
    private var waiting: [Waiter] = [] {
        didSet { waitingGauge.record(waiting.count) }
    }
    private var isWriting = false

    /// - Parameter chain: the value of the dimension `chain` of this queue's metrics.
    init(pool: ConnectionPool, substitute: ConnectionPool, logger: Logger, chain: String) {
        self.pool = pool
        self.substitute = substitute
        self.logger = logger
        let dimensions = [("chain", chain)]
        waitingGauge = Gauge(label: "customerd_audit_waiting", dimensions: dimensions)
        appendTimer = Metrics.Timer(label: "customerd_audit_append_duration_seconds", dimensions: dimensions)
        headTimeGauge = Gauge(label: "customerd_audit_head_timestamp_seconds", dimensions: dimensions)
    }

    func append(_ entry: AuditEntry, deadline: ContinuousClock.Instant) async -> Answer {
        await withCheckedContinuation { continuation in
            waiting.append(Waiter(entry: entry, deadline: deadline, continuation: continuation))
            guard !isWriting else { return }
            isWriting = true
            // Where the connections are: elsewhere each of its steps would be a switch of threads.
            Task(executorPreference: Reactor.shared.taskExecutor) { await self.write() }
        }
    }

    private func write() async {
        var round = 1
        while !waiting.isEmpty {
            dismissExpired()
            let group = Array(waiting.prefix(Self.largestGroup))
            guard let earliest = group.map(\.deadline).min() else { continue }
            waiting.removeFirst(group.count)
            do {
                let deadline = max(earliest, .now + Self.leastTime)
                let outcomes = try await commit(group.map(\.entry), deadline: deadline)
                headTimeGauge.record(Date().timeIntervalSince1970)
                for waiter in group {
                    appendTimer.record(duration: ContinuousClock.now - waiter.arrival)
                    waiter.continuation.resume(returning: .success(outcomes[waiter.entry.id]))
                }
                round = 1
            } catch {
                logger.warning("audit entries could not be appended", metadata: ["error": "\(error)"])
                if error.isUnavailability || error.isRetryable {
                    waiting.insert(contentsOf: group, at: 0)
                    round = min(round + 1, Self.longestPause)
                    await Backoff.pause(round: round, until: .now + .seconds(1))
                } else {
                    for waiter in group { waiter.continuation.resume(returning: .failure(error)) }
                }
            }
        }
        isWriting = false
    }

    /// Whoever has no time left goes first, lest the others get none either.
    private func dismissExpired() {
        let now = ContinuousClock.now
        for waiter in waiting where waiter.deadline <= now {
            waiter.continuation.resume(returning: .failure(.deadlineExceeded))
        }
        waiting.removeAll { $0.deadline <= now }
    }

    private func commit(
        _ entries: [AuditEntry],
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [UUID: Outcome] {
        let statement = Statement(
            "SELECT id, outcome FROM service.append($1)",
            [.text("[" + entries.map(\.json).joined(separator: ",") + "]")]
        )
        let rows = try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.perform(statement, deadline: deadline).rows
        }
        return rows.reduce(into: [:]) { outcomes, row in
            guard let id = row.uuid(0), let outcome = row[1].flatMap(Outcome.init) else { return }
            outcomes[id] = outcome
        }
    }
}
