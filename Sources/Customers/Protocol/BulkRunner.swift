public import LibPQ
public import Logging
import Metrics
import NIOConcurrencyHelpers
public import ServiceLifecycle

/// Carries out large bulk deletions: every instance does, some items at a time of the one that has waited longest, at a
/// rate that requests don't feel.
///
/// The database opens the attempts of the items under a lease, as it does for the ``Scheduler``; from there on it is the same
/// path as that of a request. The SQL stands in sql/functions/bulk_items.sql.
public struct BulkRunner: Service {
    /// Of items, at one time.
    private static let largestBatch = 20
    private static let interval = Duration.seconds(1)

    private let delete: DeleteCustomer
    private let execution: Execution
    private let pool: ConnectionPool
    private let limits: Limits
    private let rate: Int
    private let logger: Logger
    private let running = Gauge(label: "customerd_bulk_deletions_running")
    private let lag = Gauge(label: "customerd_bulk_deletions_lag_seconds")

    /// - Parameter rate: items a second.
    public init(
        unitOfWork: UnitOfWork, execution: Execution, pool: ConnectionPool, limits: Limits, rate: Int, logger: Logger
    ) {
        delete = DeleteCustomer(unitOfWork: unitOfWork, pool: pool)
        self.execution = execution
        self.pool = pool
        self.limits = limits
        self.rate = rate
        self.logger = logger
    }

    public func run() async throws {
        let pace = Pace(rate: rate)
        await AppWork(name: "bulk deletions", interval: Self.interval, logger: logger).run(apps: waitingApps) {
            appID throws(DatabaseError) in try await runNext(of: appID, pace)
        }
    }

    /// Items of one app at one time.
    private var batch: Int { max(1, min(rate / 4, Self.largestBatch)) }

    /// An item to be deleted, or only to be checked.
    private struct Item {
        let bulkID: UUID
        let position: Int
        let customerID: UUID
        /// nil in a dry run.
        let lease: Lease?

        /// Decodes a `service.due_item`.
        init(_ row: Row) throws(DatabaseError) {
            bulkID = try row.get("bulk_id")
            position = try row.get("position")
            customerID = try row.get("customer_id")
            lease = row["attempt_id"] == nil ? nil : try Lease(row)
        }
    }

    /// The apps that have something to do, the one that has waited longest first.
    private func waitingApps() async throws(DatabaseError) -> [UUID] {
        let (apps, behind) = try await pool.backlog(
            apps: "SELECT service.bulk_apps()", lag: "SELECT bulks, seconds FROM service.bulk_lag()",
            deadline: .now + limits.requestTimeout)
        running.record(try behind.get("bulks") as Int)
        lag.record(try behind.get("seconds") as Double)
        return apps
    }

    /// Takes some items, all of one bulk deletion.
    private func take(of appID: UUID) async throws(DatabaseError) -> [Item] {
        let taking = Statement(
            "SELECT * FROM service.take_bulk_items($1, $2, $3, $4)",
            [
                .uuid(appID), .text("\(limits.lease.milliseconds) ms"),
                .text("\(limits.idempotencyTTL.milliseconds) ms"), .int(batch),
            ])
        var items: [Item] = []
        for row in try await perform(taking, for: appID).rows { items.append(try Item(row)) }
        return items
    }

    /// Runs some items, and ends them; what can't be ended now, the next look of any instance ends.
    ///
    /// - Returns: whether there may be more.
    private func runNext(of appID: UUID, _ pace: Pace) async throws(DatabaseError) -> Bool {
        // Before a lease begins.
        guard await pace.wait(for: batch) else { return false }
        var items: [Item] = []
        defer { pace.giveBack(batch - items.count) }
        items = try await take(of: appID)
        try await end(items, of: appID)
        return !items.isEmpty
    }

    private func end(_ items: [Item], of appID: UUID) async throws(DatabaseError) {
        guard let bulkID = items.first?.bulkID else { return }
        var checked: [(position: Int, outcome: Outcome)] = []
        var isDelayed = false
        for item in items {
            guard let lease = item.lease else {
                let check = try await pool.checkDeletion(
                    of: item.customerID, appID, deadline: .now + limits.requestTimeout)
                checked.append((item.position, check.outcome))
                continue
            }
            if await !run(item, lease) { isDelayed = true }
        }
        _ = try await perform(
            Statement(
                "SELECT service.end_bulk_items($1, $2, $3, $4, $5)",
                [
                    .uuid(appID), .uuid(bulkID), .array(checked.map { "\($0.position)" }),
                    .array(checked.map(\.outcome.rawValue)), .text(isDelayed ? "1 s" : "0 s"),
                ]), for: appID)
    }

    /// - Returns: whether it has ended.
    private func run(_ item: Item, _ lease: Lease) async -> Bool {
        var lease = lease
        do throws(WriteError) {
            let receipt = try await delete.run(
                item.customerID, &lease, in: execution, until: .now + limits.requestTimeout)
            Counter(
                label: "customerd_bulk_items_total", dimensions: [("outcome", receipt.outcome.rawValue.lowercased())]
            ).increment()
            return receipt.status != APIError.unavailable.status
        } catch {
            logger.warning(
                "an item of a bulk deletion ends later",
                metadata: ["attempt": "\(lease.attemptID.text)", "error": "\(error)"])
            return false
        }
    }

    private func perform(_ statement: Statement, for appID: UUID? = nil) async throws(DatabaseError) -> QueryResult {
        let deadline = ContinuousClock.now + limits.requestTimeout
        return try await pool.withConnection(for: appID, deadline: deadline) { connection throws(DatabaseError) in
            try await connection.perform(statement, deadline: deadline)
        }
    }
}

/// The rate that all bulk deletions of an instance share.
private struct Pace: Sendable {
    private let interval: Duration
    private let next = NIOLockedValueBox(ContinuousClock.now)

    /// - Parameter rate: items a second.
    init(rate: Int) {
        interval = .seconds(1) / rate
    }

    /// Waits until so many items may be run.
    ///
    /// - Returns: false when the instance stops.
    func wait(for count: Int) async -> Bool {
        let start = next.withLockedValue { next in
            let start = max(next, .now)
            next = start + interval * count
            return start
        }
        try? await cancelWhenGracefulShutdown { try await Task.sleep(until: start) }
        return !Task.isShuttingDownGracefully && !Task.isCancelled
    }

    /// Some of them weren't there.
    func giveBack(_ count: Int) {
        next.withLockedValue { $0 -= interval * count }
    }
}
