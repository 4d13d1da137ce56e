public import LibPQ
public import Logging
import Metrics
import NIOConcurrencyHelpers
public import ServiceLifecycle

/// Delivers the events of all webhooks, shared among all instances: one that has something to deliver is leased, and its
/// events are sent one after the other until there are none, one fails, or its turn is over.
///
/// While a receiver is waited for, no session of the database is held. An instance that dies is taken over when its leases
/// end. The SQL stands in sql/functions/webhooks.sql.
public final class WebhookDeliverer: Service {
    /// Webhooks at one time, each of which may have one connection.
    public static let mostTurns = 256
    /// Of those that failed the last time, so that many receivers that hang leave room for the others.
    private static let mostFailingTurns = 128
    /// How long a webhook can't be taken over. Longer than an attempt and its record take.
    private static let lease = Duration.seconds(25)
    /// What must be left of it for another attempt.
    private static let leastLease = WebhookSender.timeout + .seconds(4)
    /// After which a turn ends, so that others get theirs.
    private static let turn = Duration.seconds(10)
    /// Successes that are recorded together: so many may be repeated when the instance dies.
    private static let mostUnrecorded = 100
    private static let recordInterval = Duration.seconds(1)
    /// From one look for webhooks with something to deliver to the next.
    private static let interval = Duration.milliseconds(500)
    /// The same while there are some: a chain that grows all the time is looked at ten times a second.
    private static let shortInterval = Duration.milliseconds(100)
    private static let metricsInterval = Duration.seconds(5)
    private static let timeout = Duration.seconds(5)
    private static let pageLength = 100

    private let pool: ConnectionPool
    private let substitute: ConnectionPool
    private let sender: WebhookSender
    private let logger: Logger
    private let turns = NIOLockedValueBox((healthy: 0, failing: 0))
    private let delivered = Counter(label: "customerd_webhook_deliveries_total", dimensions: [("result", "delivered")])
    private let failed = Counter(label: "customerd_webhook_deliveries_total", dimensions: [("result", "failed")])
    private let disabled = Counter(label: "customerd_webhooks_disabled_total")
    private let lag = Gauge(label: "customerd_webhook_lag_seconds")
    private let failing = Gauge(label: "customerd_webhooks_failing")

    /// - Parameter substitute: a pool to fall back to when the other can't have a connection.
    public init(pool: ConnectionPool, substitute: ConnectionPool, sender: WebhookSender, logger: Logger) {
        self.pool = pool
        self.substitute = substitute
        self.sender = sender
        self.logger = logger
    }

    /// A webhook that is this instance's to deliver.
    fileprivate struct Claim: Sendable {
        let webhook: UUID
        let fence: Int
        let target: WebhookSender.Target
        let types: [String]?
        let after: Int
        let failures: Int
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            await withDiscardingTaskGroup { group in
                group.addTask { await self.measure() }
                while !Task.isCancelled {
                    let claims = await claim()
                    for claim in claims {
                        count(claim, 1)
                        group.addTask {
                            await self.deliver(claim)
                            self.count(claim, -1)
                        }
                    }
                    try? await Task.sleep(for: claims.isEmpty ? Self.interval : Self.shortInterval)
                }
                group.cancelAll()
            }
        }
    }

    private func count(_ claim: Claim, _ change: Int) {
        turns.withLockedValue { turns in
            if claim.failures > 0 { turns.failing += change } else { turns.healthy += change }
        }
    }

    // MARK: - Turns

    private func claim() async -> [Claim] {
        let (healthy, failing) = turns.withLockedValue { $0 }
        let (free, freeForFailing) = (Self.mostTurns - healthy - failing, Self.mostFailingTurns - failing)
        guard free > 0 else { return [] }
        let statement = Statement(
            """
            SELECT app_id, id, fence, url, to_json(types) AS types, secret, previous_secret, after_seq, failures
            FROM service.claim_webhooks($1, $2, $3)
            """,
            [.int(free), .int(max(0, min(free, freeForFailing))), .text("\(Self.lease.milliseconds) ms")])
        let deadline = ContinuousClock.now + Self.timeout
        let (claims, failure) = await pool.atEveryPlace(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            var claims: [Claim] = []
            for row in try await connection.perform(statement, deadline: deadline).rows {
                claims.append(try Claim(row))
            }
            return claims
        }
        if let failure, !Task.isCancelled {
            logger.debug("webhooks can't be claimed now", metadata: ["error": "\(failure)"])
        }
        return Array(claims.joined())
    }

    private func deliver(_ claim: Claim) async {
        var turn = Turn(claim, lease: Self.lease)
        var connection: WebhookConnection?
        do throws(DatabaseError) {
            let end = ContinuousClock.now + Self.turn
            events: while ContinuousClock.now < end, !Task.isCancelled {
                let page = try await page(claim, after: turn.place)
                for event in page.events {
                    guard ContinuousClock.now < end, !Task.isCancelled else { break events }
                    if turn.isToBeRecorded(leaving: Self.leastLease, Self.mostUnrecorded, Self.recordInterval) {
                        guard try await record(&turn, then: .goOn) else { return close(connection) }
                    }
                    let result = await sender.send(event.body, id: event.id, to: claim.target, over: &connection)
                    if result.failure == .stopped { break events }
                    turn.add(result, of: event)
                    guard result.isDelivered else {
                        failed.increment()
                        logger.info(
                            "a webhook failed",
                            metadata: [
                                "webhook": "\(claim.webhook.text)", "failures": "\(turn.failures)",
                                "error": "\(result.error ?? "")",
                            ])
                        _ = try await record(&turn, then: .retry(after: result.retryAfter, isGone: result.isGone))
                        return close(connection)
                    }
                    delivered.increment()
                }
                turn.place = max(turn.place, page.end)
                if !page.mayHaveMore { break }
            }
            _ = try await record(&turn, then: .end)
        } catch {
            // The lease ends by itself; what was delivered since the last record is delivered again.
            logger.warning(
                "deliveries of a webhook aren't recorded",
                metadata: ["webhook": "\(claim.webhook.text)", "error": "\(error)"])
        }
        close(connection)
    }

    private func close(_ connection: WebhookConnection?) {
        connection?.close()
    }

    private func page(_ claim: Claim, after place: Int) async throws(DatabaseError) -> EventPage {
        try await withConnection(toHomeOf: claim.target.appID) { connection, deadline throws(DatabaseError) in
            try await connection.events(
                of: claim.target.appID, after: place, limit: Self.pageLength, types: claim.types, deadline: deadline)
        }
    }

    private enum Next {
        case goOn
        case end
        case retry(after: Int?, isGone: Bool)
    }

    /// Records how far the turn has come.
    ///
    /// - Returns: whether the webhook is still this instance's.
    private func record(_ turn: inout Turn, then next: Next) async throws(DatabaseError) -> Bool {
        var (lease, pause, isGone) = (Parameter.null, Parameter.null, false)
        switch next {
        case .goOn: lease = .text("\(Self.lease.milliseconds) ms")
        case .end: break
        case .retry(let seconds, let gone):
            pause = .text("\(Self.pause(turn.failures, atLeast: seconds).milliseconds) ms")
            isGone = gone
        }
        let start = ContinuousClock.now
        let statement = Statement(
            "SELECT service.record_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9) AS recorded",
            [
                .uuid(turn.claim.target.appID), .uuid(turn.claim.webhook), .int(turn.claim.fence),
                .text(turn.history.text), .int(turn.place), lease, .int(turn.failures), pause, .bool(isGone),
            ])
        // An instance that stops records all the same, so not in a task that is cancelled.
        let appID = turn.claim.target.appID
        let result = await Task { () -> Result<String, DatabaseError> in
            do throws(DatabaseError) {
                return .success(
                    try await self.withConnection(toHomeOf: appID) {
                        connection, deadline throws(DatabaseError) in
                        try await connection.perform(statement, deadline: deadline).row().get("recorded")
                    })
            } catch {
                return .failure(error)
            }
        }.value
        let recorded = try result.get()
        turn.recorded(leaseEnd: start + Self.lease)
        if recorded == "DISABLED" {
            disabled.increment()
            logger.warning("a webhook was disabled", metadata: ["webhook": "\(turn.claim.webhook.text)"])
        }
        return recorded == "HELD"
    }

    /// A connection to the node that has an app, without counting for the app's share of the pool.
    private func withConnection<R: Sendable>(
        toHomeOf appID: UUID,
        _ body: @Sendable (Connection, ContinuousClock.Instant) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        let deadline = ContinuousClock.now + Self.timeout
        let pool = try await pool.home(of: appID, deadline: deadline)
        let substitute = try await substitute.home(of: appID, deadline: deadline)
        return try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in try await body(connection, deadline)
        }
    }

    /// 5 s, 30 s, 2 min, 10 min, then 30 min, a fifth more or less, so that receivers aren't tried all at once.
    static func pause(_ failures: Int, atLeast seconds: Int?) -> Duration {
        let steps = [5.0, 30, 120, 600, 1800]
        let pause = steps[min(max(failures, 1), steps.count) - 1] * Double.random(in: 0.8...1.2)
        return .milliseconds(Int(max(pause, Double(seconds ?? 0)) * 1000))
    }

    // MARK: - Metrics

    private func measure() async {
        while !Task.isCancelled {
            let statement = Statement("SELECT seconds, failing FROM service.webhook_lag()")
            let deadline = ContinuousClock.now + Self.timeout
            let (rows, failure) = await pool.atEveryPlace(fallingBackTo: substitute, deadline: deadline) {
                connection throws(DatabaseError) in try await connection.perform(statement, deadline: deadline).row()
            }
            if failure == nil {
                lag.record(rows.compactMap { $0["seconds"].flatMap { Double($0) } }.max() ?? 0)
                failing.record(rows.reduce(0) { $0 + ($1.int("failing") ?? 0) })
            }
            try? await Task.sleep(for: Self.metricsInterval)
        }
    }
}

extension WebhookDeliverer.Claim {
    fileprivate init(_ row: Row) throws(DatabaseError) {
        guard let secret = row.bytes("secret") else { throw .unexpected("a webhook without secret") }
        webhook = try row.get("id")
        fence = try row.get("fence")
        target = WebhookSender.Target(
            appID: try row.get("app_id"), url: try row.get("url"), secret: secret,
            previousSecret: row.bytes("previous_secret"))
        after = try row.get("after_seq")
        failures = try row.get("failures")
        guard let types = row["types"] else {
            self.types = nil
            return
        }
        guard case .array(let elements) = try? JSONReader.value(of: Array(types.utf8)) else {
            throw .unexpected("the types of a webhook are no list")
        }
        self.types = elements.compactMap { if case .string(let type) = $0 { type } else { nil } }
    }
}

/// What an instance has done for a webhook since it was claimed.
private struct Turn {
    let claim: WebhookDeliverer.Claim
    /// Everything up to here is delivered.
    var place: Int
    /// Attempts that have failed since the last success.
    private(set) var failures: Int
    private(set) var leaseEnd: ContinuousClock.Instant
    private var unrecorded: [(result: WebhookSender.Result, event: Event, attempt: Int)] = []
    private var lastRecord = ContinuousClock.now

    init(_ claim: WebhookDeliverer.Claim, lease: Duration) {
        self.claim = claim
        place = claim.after
        failures = claim.failures
        // It was granted a moment ago.
        leaseEnd = .now + lease - .seconds(1)
    }

    mutating func add(_ result: WebhookSender.Result, of event: Event) {
        unrecorded.append((result, event, failures + 1))
        failures = result.isDelivered ? 0 : failures + 1
        if result.isDelivered { place = event.seq }
    }

    /// - Parameter leastLease: what must be left of the lease, which a record prolongs.
    func isToBeRecorded(leaving leastLease: Duration, _ most: Int, _ interval: Duration) -> Bool {
        leaseEnd - .now < leastLease || unrecorded.count >= most
            || !unrecorded.isEmpty && ContinuousClock.now - lastRecord >= interval
    }

    mutating func recorded(leaseEnd: ContinuousClock.Instant) {
        self.leaseEnd = leaseEnd
        lastRecord = .now
        unrecorded = []
    }

    var history: JSON {
        .array(
            unrecorded.map { result, event, attempt in
                result.json(seq: event.seq, id: event.id, type: event.type, attempt: attempt)
            })
    }
}

extension WebhookSender.Result {
    /// An element of the array that `service.note_deliveries` takes.
    func json(seq: Int?, id: UUID, type: String, attempt: Int) -> JSON {
        [
            "seq": .int(seq), "id": .string(id.text), "type": .string(type), "attempt": .int(attempt),
            "status_code": .int(status), "error": .string(error), "duration_ms": .int(duration.milliseconds),
            "ago_ms": .int((ContinuousClock.now - began).milliseconds),
        ]
    }
}
