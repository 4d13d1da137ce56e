public import LibPQ
public import Logging
import Metrics
public import ServiceLifecycle

/// Carries out scheduled deletions at their time: every instance does, at start and every second, and each deletion happens
/// once.
///
/// The database opens the attempt under a lease, as admission does for a request; from there on it is the same path as
/// that of a request, ``Execution``. The SQL stands in sql/functions/due_deletions.sql.
public struct Scheduler: Service {
    private static let batch = 20
    /// Of one app at one time, so that requests keep most of the pool.
    private static let width = 3

    private let delete: DeleteCustomer
    private let execution: Execution
    private let pool: ConnectionPool
    private let limits: Limits
    private let logger: Logger
    private let interval: Duration
    private let due = Gauge(label: "customerd_scheduled_deletions_due")
    private let lag = Gauge(label: "customerd_scheduled_deletions_lag_seconds")

    /// - Parameter interval: from one look to the next, while nothing is due.
    public init(
        unitOfWork: UnitOfWork, execution: Execution, pool: ConnectionPool, limits: Limits, logger: Logger,
        interval: Duration = .seconds(1)
    ) {
        delete = DeleteCustomer(unitOfWork: unitOfWork, pool: pool)
        self.execution = execution
        self.pool = pool
        self.limits = limits
        self.logger = logger
        self.interval = interval
    }

    public func run() async throws {
        await AppWork(name: "scheduled deletions", interval: interval, logger: logger).run(apps: dueApps, step: runDue)
    }

    /// A deletion whose time has come.
    private struct Due: Sendable {
        let customerID: UUID
        var lease: Lease

        /// Decodes a `service.due_deletion`.
        init(_ row: Row) throws(DatabaseError) {
            customerID = try row.get("customer_id")
            lease = try Lease(row)
        }
    }

    /// The apps that have something due.
    private func dueApps() async throws(DatabaseError) -> [UUID] {
        let (apps, behind) = try await pool.backlog(
            apps: "SELECT service.due_apps()", lag: "SELECT deletions, seconds FROM service.schedule_lag()",
            deadline: .now + limits.requestTimeout)
        due.record(try behind.get("deletions") as Int)
        lag.record(try behind.get("seconds") as Double)
        return apps
    }

    /// Runs a batch of what an app has due.
    ///
    /// - Returns: whether there may be more.
    private func runDue(of appID: UUID) async throws(DatabaseError) -> Bool {
        let deadline = ContinuousClock.now + limits.requestTimeout
        let taking = Statement(
            "SELECT * FROM service.take_due_deletions($1, $2, $3, $4)",
            [
                .uuid(appID), .text("\(limits.lease.milliseconds) ms"),
                .text("\(limits.idempotencyTTL.milliseconds) ms"), .int(Self.batch),
            ])
        let taken = try await pool.withConnection(for: appID, deadline: deadline) { connection throws(DatabaseError) in
            try await connection.perform(taking, deadline: deadline).rows
        }
        var items: [Due] = []
        for row in taken { items.append(try Due(row)) }
        await withTaskGroup(of: Void.self) { group in
            for (index, item) in items.enumerated() {
                if index >= Self.width { _ = await group.next() }
                group.addTask { await run(item) }
            }
        }
        return items.count == Self.batch
    }

    /// Runs one; how it ended is told by its attempt, so that whatever goes wrong here is put right by the next look of any
    /// instance.
    private func run(_ item: Due) async {
        var lease = item.lease
        do throws(WriteError) {
            let receipt = try await delete.run(
                item.customerID, &lease, in: execution, until: .now + limits.requestTimeout)
            Counter(
                label: "customerd_scheduled_deletions_total",
                dimensions: [("outcome", receipt.outcome.rawValue.lowercased())]
            ).increment()
        } catch {
            logger.warning(
                "a scheduled deletion ends later",
                metadata: ["attempt": "\(lease.attemptID.text)", "error": "\(error)"])
            return
        }
        let ending = Statement(
            "SELECT service.end_scheduled_deletion($1, $2, $3)",
            [.uuid(lease.appID), .uuid(item.customerID), .uuid(lease.attemptID)])
        let deadline = ContinuousClock.now + .seconds(2)
        _ = try? await pool.withConnection(for: lease.appID, deadline: deadline) {
            connection throws(DatabaseError) in try await connection.perform(ending, deadline: deadline)
        }
    }
}
