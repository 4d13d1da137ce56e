import Foundation
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
            Task { await write() }
        }
    }

    private func write() async {
        var round = 1
        while !waiting.isEmpty {
            let group = Array(waiting.prefix(Self.largestGroup))
            waiting.removeFirst(group.count)
            let deadline = group.map(\.deadline).min() ?? .now
            do {
                let outcomes = try await commit(group.map(\.entry), deadline: deadline)
                headTimeGauge.record(Date().timeIntervalSince1970)
                for waiter in group {
                    appendTimer.record(duration: ContinuousClock.now - waiter.arrival)
                    waiter.continuation.resume(returning: .success(outcomes[waiter.entry.id]))
                }
                round = 1
            } catch {
                logger.warning("audit entries could not be appended", metadata: ["error": "\(error)"])
                let repeatable = error.isUnavailability || error.isRetryable
                var remaining: [Waiter] = []
                for waiter in group {
                    if repeatable, waiter.deadline > .now {
                        remaining.append(waiter)
                    } else {
                        waiter.continuation.resume(returning: .failure(error))
                    }
                }
                waiting.insert(contentsOf: remaining, at: 0)
                round += 1
                if let next = remaining.map(\.deadline).min() { await Backoff.pause(round: round, until: next) }
            }
        }
        isWriting = false
    }

    private func commit(
        _ entries: [AuditEntry],
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [UUID: Outcome] {
        let statement = Statement(
            "SELECT id, outcome FROM service.append($1)",
            [.text("[" + entries.map(\.json).joined(separator: ",") + "]")]
        )
        let rows = try await pool.withConnection(orOf: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.perform(statement, deadline: deadline).rows
        }
        return rows.reduce(into: [:]) { outcomes, row in
            guard let id = row.uuid(0), let outcome = row[1].flatMap(Outcome.init) else { return }
            outcomes[id] = outcome
        }
    }
}
