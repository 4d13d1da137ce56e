public import LibPQ
public import Logging
import Metrics
import NIOConcurrencyHelpers
public import ServiceLifecycle

/// Finishes what no instance finishes any more, at start and every second; every instance does, and two at once are
/// harmless. App by app, so that a chain that can't be appended to fails alone.
///
/// The SQL stands in sql/functions/recovery.sql.
public struct Recovery: Service {
    private static let batch = 500
    /// The longest time until an app that couldn't be recovered is tried again.
    private static let longestPause = Duration.seconds(30)

    private let pool: ConnectionPool
    private let substitute: ConnectionPool
    private let givenUp: GivenUpAttempts
    private let memory: CredentialMemory
    private let failures = NIOLockedValueBox<[UUID: Failures]>([:])
    private let logger: Logger
    private let interval: Duration
    private let completed = Counter(label: "customerd_recovered_total", dimensions: [("kind", "completed")])
    private let interrupted = Counter(label: "customerd_recovered_total", dimensions: [("kind", "interrupted")])
    private let folded = Counter(label: "customerd_recovered_total", dimensions: [("kind", "folded")])
    private let failing = Gauge(label: "customerd_recovery_failing_apps")
    private let lagging = Gauge(label: "customerd_audit_unrecorded")
    private let lag = Gauge(label: "customerd_audit_lag_seconds")

    /// - Parameters:
    ///   - substitute: a pool to fall back to when the other can't have a connection.
    ///   - givenUp: the attempts that are recovered before their leases end.
    ///   - memory: where attempts of floods are counted that the database wasn't asked about.
    ///   - interval: from one run to the next.
    public init(
        pool: ConnectionPool, substitute: ConnectionPool, givenUp: GivenUpAttempts, memory: CredentialMemory,
        logger: Logger, interval: Duration = .seconds(1)
    ) {
        self.pool = pool
        self.substitute = substitute
        self.givenUp = givenUp
        self.memory = memory
        self.logger = logger
        self.interval = interval
    }

    /// An app that couldn't be recovered.
    private struct Failures {
        var count = 0
        var retryAt = ContinuousClock.now

        /// Another time; each doubles the pause, so that what can't be recovered costs little.
        mutating func add() {
            count += 1
            retryAt = .now + min(.seconds(1 << min(count, 5)), Recovery.longestPause)
        }
    }

    /// What one run did.
    private struct Report {
        /// Receipts that got their entry.
        var completed = 0
        /// Attempts past their lease that ended as INTERRUPTED.
        var interrupted = 0
        /// Floods that were folded into an entry.
        var folded = 0
        /// Answers whose time was over.
        var purged = 0
        /// Apps that couldn't be recovered now.
        var failing = 0
        var mayHaveMore = false

        var didSomething: Bool { completed + interrupted + folded + purged > 0 }
    }

    public func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            var mayHaveMore = false
            let start = ContinuousClock.now
            do {
                mayHaveMore = try await recover().mayHaveMore
            } catch {
                logger.report(error, in: "recovery")
            }
            // As much rest as work: a long backlog leaves half of a session's time to requests.
            let pause = mayHaveMore ? min(max(.now - start, .milliseconds(10)), interval) : interval
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: pause) }
        }
        await foldLast()
    }

    /// Hands over what was counted since the last run, when no requests come any more.
    private func foldLast() async {
        let deadline = ContinuousClock.now + .seconds(2)
        do throws(DatabaseError) {
            try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
                connection throws(DatabaseError) in try await fold(connection, deadline: deadline)
            }
        } catch {
            let lost = memory.takeFolded()
            if !lost.isEmpty { report(lost, error) }
        }
    }

    /// Says that what was counted may be lost.
    private func report(_ lost: [CredentialMemory.Folded], _ error: DatabaseError) {
        let count = lost.reduce(0) { $0 + $1.count }
        logger.error(
            "attempts of floods may be missing from the trail", metadata: ["count": "\(count)", "error": "\(error)"])
    }

    /// One run.
    private func recover() async throws(DatabaseError) -> Report {
        let deadline = ContinuousClock.now + .seconds(20)
        let report = try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await release(connection, deadline: deadline)
            try await fold(connection, deadline: deadline)
            var report = Report()
            // Recovery first, purge second: what lacks its entry must never be forgotten.
            let overdue = try await connection.query(Statement("SELECT service.overdue()"), deadline: deadline)
            let apps: [UUID] = try overdue.values()
            failures.withLockedValue { failures in failures = failures.filter { apps.contains($0.key) } }
            for appID in apps {
                let isResting = failures.withLockedValue { $0[appID].map { $0.retryAt > .now } ?? false }
                if !isResting { try await recover(appID, connection, &report, deadline: deadline) }
            }
            report.failing = failures.withLockedValue { $0.count }
            let purged = try await connection.perform(
                Statement("SELECT service.purge($1) AS purged", [.int(Self.batch)]), deadline: deadline)
            report.purged = try purged.row().get("purged")
            report.mayHaveMore = report.mayHaveMore || report.purged >= Self.batch
            let lag = try await connection.query(
                Statement("SELECT attempts, seconds FROM service.audit_lag()"), deadline: deadline
            ).row()
            self.lagging.record(try lag.get("attempts") as Int)
            self.lag.record(try lag.get("seconds") as Double)
            return report
        }
        completed.increment(by: report.completed)
        interrupted.increment(by: report.interrupted)
        folded.increment(by: report.folded)
        failing.record(report.failing)
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

    /// One app. What is wrong with its chain alone doesn't keep the others from their turn.
    private func recover(
        _ appID: UUID, _ connection: Connection, _ report: inout Report, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) {
        do {
            let row = try await connection.perform(
                Statement("SELECT * FROM service.recover($1, $2)", [.uuid(appID), .int(Self.batch)]), deadline: deadline
            ).row()
            let completed: Int = try row.get("completed")
            let interrupted: Int = try row.get("interrupted")
            report.completed += completed
            report.interrupted += interrupted
            report.folded += try row.get("folded")
            let closed: Int = try row.get("closed")
            let erased = try await connection.perform(
                Statement("SELECT service.erase_next($1, $2) AS is_erased", [.uuid(appID), .int(Self.batch)]),
                deadline: deadline
            ).row()
            let isErased: Bool = try erased.get("is_erased")
            report.mayHaveMore =
                report.mayHaveMore || !isErased || max(completed + interrupted, closed) >= Self.batch
            failures.withLockedValue { $0[appID] = nil }
        } catch {
            // Another transaction holds the chain: the next run comes soon enough.
            if error.sqlstate == .lockNotAvailable || error.isRetryable { return }
            guard case .server = error, !error.isUnavailability || error.sqlstate == .queryCanceled else { throw error }
            failures.withLockedValue { $0[appID, default: Failures()].add() }
            logger.error("an app can't be recovered now", metadata: ["app": "\(appID.text)", "error": "\(error)"])
        }
    }

    /// Hands over how many attempts of floods were answered without the database.
    private func fold(_ connection: Connection, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        let folded = memory.takeFolded()
        guard !folded.isEmpty else { return }
        let items = folded.map { one in
            JSON.object([
                .init(name: "app_id", value: .string(one.appID?.text)),
                .init(name: "subject", value: .string(one.subject)), .init(name: "at", value: .string(one.at)),
                .init(name: "count", value: .int(one.count)), .init(name: "entry", value: .raw(one.entry)),
            ]).text
        }
        let statement = Statement("SELECT service.fold_answered($1)", [.text("[\(items.joined(separator: ","))]")])
        do {
            _ = try await connection.perform(statement, deadline: deadline)
        } catch {
            // It would fail again, or they may have been counted: rather missing than twice in the trail.
            let isLost = error.leavesDoubt || !error.maySucceedLater
            guard isLost else {
                memory.putBack(folded)
                throw error
            }
            report(folded, error)
            if error.leavesDoubt { throw error }
        }
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
        givenUp.remove(try released.values())
    }
}

/// Attempts that this instance has answered with 503 without knowing their end. No request runs them any more, so the next
/// ``Recovery`` finishes them without waiting for the end of their leases, and their idempotency keys are free.
public final class GivenUpAttempts: Sendable {
    /// What was on its way to the database when it was given up may arrive late, and begin an attempt then.
    private static let memory = Duration.seconds(30)

    private let attempts = NIOLockedValueBox<[UUID: ContinuousClock.Instant]>([:])

    public init() {}

    /// Gives an attempt up; it may not have begun.
    func add(_ attempt: UUID) {
        attempts.withLockedValue { $0[attempt] = .now + Self.memory }
    }

    /// Those that may have to be finished yet.
    var current: [UUID] {
        attempts.withLockedValue { attempts in
            let now = ContinuousClock.now
            attempts = attempts.filter { $0.value > now }
            return Array(attempts.keys)
        }
    }

    /// They are another instance's to finish.
    func remove(_ released: [UUID]) {
        attempts.withLockedValue { attempts in
            for attempt in released { attempts[attempt] = nil }
        }
    }
}
