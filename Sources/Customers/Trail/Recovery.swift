public import LibPQ
public import Logging
import Metrics
public import ServiceLifecycle

/// Finishes what nobody finishes any more, at start and periodically; every instance does, and two at once are
/// harmless: `service.recover` skips what another has locked.
public struct Recovery: Service {
    private static let batch = 500

    private let pool: ConnectionPool
    private let substitute: ConnectionPool
    private let givenUp: GivenUpAttempts
    private let logger: Logger
    private let interval: Duration
    private let completed = Counter(label: "customerd_recovered_total", dimensions: [("kind", "completed")])
    private let interrupted = Counter(label: "customerd_recovered_total", dimensions: [("kind", "interrupted")])
    private let folded = Counter(label: "customerd_recovered_total", dimensions: [("kind", "folded")])
    private let lagging = Gauge(label: "customerd_audit_unrecorded")
    private let lag = Gauge(label: "customerd_audit_lag_seconds")

    /// - Parameters:
    ///   - substitute: a pool to go to when the other can't have a connection.
    ///   - givenUp: the attempts that needn't come to the end of their leases.
    ///   - interval: from one run to the next.
    public init(
        pool: ConnectionPool, substitute: ConnectionPool, givenUp: GivenUpAttempts, logger: Logger,
        interval: Duration = .seconds(1)
    ) {
        self.pool = pool
        self.substitute = substitute
        self.givenUp = givenUp
        self.logger = logger
        self.interval = interval
    }

    /// What one run did.
    public struct Report: Sendable, Hashable {
        /// Receipts that got their entry.
        public let completed: Int
        /// Attempts past their lease that ended as INTERRUPTED.
        public let interrupted: Int
        /// Floods that were folded into an entry.
        public let folded: Int
        /// Answers whose time was over.
        public let purged: Int

        var didSomething: Bool { completed + interrupted + folded + purged > 0 }
        var isFull: Bool { max(completed + interrupted, folded, purged) >= Recovery.batch }
    }

    public func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            var mayHaveMore = false
            do {
                let report = try await recover()
                mayHaveMore = report.isFull
            } catch  where error.isUnavailability {
                logger.debug("recovery waits for the database", metadata: ["error": "\(error)"])
            } catch {
                logger.error("recovery failed", metadata: ["error": "\(error)"])
            }
            if mayHaveMore { continue }
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: interval) }
        }
    }

    /// One run.
    @discardableResult
    public func recover() async throws(DatabaseError) -> Report {
        let deadline = ContinuousClock.now + .seconds(20)
        let report = try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await release(connection, deadline: deadline)
            // Recovery first, purge second: what lacks its entry must never be forgotten.
            let recovered = try await connection.perform(
                Statement("SELECT completed, interrupted, folded FROM service.recover($1)", [.int(Self.batch)]),
                deadline: deadline
            )
            let purged = try await connection.perform(
                Statement("SELECT service.purge($1)", [.int(Self.batch)]),
                deadline: deadline
            )
            let lag = try await connection.query(
                Statement("SELECT attempts, seconds FROM service.audit_lag()"),
                deadline: deadline
            )
            self.lagging.record(lag.rows.first?.int(0) ?? 0)
            self.lag.record(lag.rows.first?[1].flatMap { Double($0) } ?? 0)
            let row = recovered.rows.first
            return Report(
                completed: row?.int(0) ?? 0, interrupted: row?.int(1) ?? 0, folded: row?.int(2) ?? 0,
                purged: purged.rows.first?.int(0) ?? 0
            )
        }
        completed.increment(by: report.completed)
        interrupted.increment(by: report.interrupted)
        folded.increment(by: report.folded)
        if report.didSomething {
            logger.info(
                "recovered",
                metadata: [
                    "completed": "\(report.completed)", "interrupted": "\(report.interrupted)",
                    "folded": "\(report.folded)", "purged": "\(report.purged)",
                ])
        }
        return report
    }

    /// Ends the leases of what was given up.
    private func release(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) {
        let attempts = givenUp.current
        guard !attempts.isEmpty else { return }
        let released = try await connection.perform(
            Statement("SELECT service.release($1)", [.array(attempts.map(\.text))]),
            deadline: deadline
        )
        givenUp.remove(released.rows.compactMap { $0.uuid(0) })
    }
}
