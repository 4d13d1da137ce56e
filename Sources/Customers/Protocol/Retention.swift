public import LibPQ
public import Logging
import Metrics
public import ServiceLifecycle

/// Erases the context of old entries of the trail: who asked from where, with which headers. Every instance does, at start
/// and every hour; two at once are harmless. And what PostgreSQL's planner remembers of customers, after a day.
///
/// The SQL stands in sql/functions/retention.sql. Source: docs/audit-chain.md, Retention.
public struct Retention: Service {
    private static let batch = 500
    private static let interval = Duration.seconds(3600)
    /// How long statistics of customers may be older than the last change.
    private static let samplesAge = Duration.seconds(24 * 3600)
    /// Until it is tried again, after it failed.
    private static let pause = Duration.seconds(30)

    private let pool: ConnectionPool
    private let days: Int
    private let logger: Logger
    private let failing = Gauge(label: "customerd_retention_failing_apps")

    /// - Parameter days: after which the context of an entry is erased; 0 to keep it.
    public init(pool: ConnectionPool, days: Int, logger: Logger) {
        self.pool = pool
        self.days = days
        self.logger = logger
    }

    public func run() async throws {
        failing.record(0)
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            var pause = Self.interval
            do throws(DatabaseError) {
                var failed = 0
                for appID in days > 0 ? try await apps() : [] {
                    if try await !retain(appID) { failed += 1 }
                }
                failing.record(failed)
                if failed > 0 { pause = Self.pause }
                try await forgetSamples()
            } catch {
                pause = Self.pause
                logger.report(error, in: "retention")
            }
            try? await cancelWhenGracefulShutdown { [pause] in try await Task.sleep(for: pause) }
        }
    }

    private func apps() async throws(DatabaseError) -> [UUID] {
        let deadline = ContinuousClock.now + .seconds(10)
        return try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
            try await connection.query(Statement("SELECT service.retention_apps()"), deadline: deadline).values()
        }
    }

    private func forgetSamples() async throws(DatabaseError) {
        let statement = Statement("SELECT service.forget_samples($1)", [.text("\(Self.samplesAge.milliseconds) ms")])
        let deadline = ContinuousClock.now + .seconds(60)
        _ = try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
            try await connection.perform(statement, deadline: deadline)
        }
    }

    /// One chain. What is wrong with it alone doesn't keep the others from their turn.
    ///
    /// - Returns: false if something is.
    private func retain(_ appID: UUID) async throws(DatabaseError) -> Bool {
        let statement = Statement(
            "SELECT service.retain($1, $2, $3) AS has_more", [.uuid(appID), .int(days), .int(Self.batch)])
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            let start = ContinuousClock.now
            let deadline = start + .seconds(20)
            do throws(DatabaseError) {
                let hasMore: Bool = try await pool.withConnection(for: appID, deadline: deadline) {
                    connection throws(DatabaseError) in
                    try await connection.perform(statement, deadline: deadline).row().get("has_more")
                }
                guard hasMore else { return true }
            } catch {
                // A chain that another transaction holds is tried again soon; without a database none can be.
                switch error {
                case .server, .deadlineExceeded:
                    logger.error(
                        "the context of old entries can't be erased now",
                        metadata: ["app": "\(appID.text)", "error": "\(error)"])
                    return false
                default: throw error
                }
            }
            // As much rest as work, so that half of a session's time is others'.
            try? await Task.sleep(for: max(.now - start, .milliseconds(10)))
        }
        return true
    }
}
