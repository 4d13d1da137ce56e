import AuditTrail
public import LibPQ
public import Logging
import Metrics
import NIOConcurrencyHelpers
public import ServiceLifecycle

/// Delivers the events of all webhooks, shared among all instances: one that has something to deliver is leased, and its
/// events are sent one after the other until there are none, one fails, or its turn is over.
///
/// While a receiver is waited for, no session of the database is held. An instance that dies is taken over when its leases
/// end. The SQL stands in sql/functions/deliveries.sql.
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
    /// How long a record that fails is tried again after its lease has ended, which is longer than a restart of the database
    /// takes. Unless another instance has the webhook by then, nothing is delivered twice.
    private static let recordPatience = Duration.seconds(60)
    /// The round of ``Backoff`` after which pauses grow no longer.
    private static let longestPause = 6
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
        let appID: UUID
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
                group.addTask { await self.reseal() }
                var id = UUID.random()
                while !Task.isCancelled {
                    var isIdle = true
                    // Made again under the same id if the answer was lost, as it may have granted something.
                    if let claims = await claim(id) {
                        id = .random()
                        isIdle = claims.isEmpty
                        for claim in claims {
                            count(claim, 1)
                            group.addTask(executorPreference: WebhookLoop.shared) {
                                await self.deliver(claim)
                                self.count(claim, -1)
                            }
                        }
                    }
                    try? await Task.sleep(for: isIdle ? Self.interval : Self.shortInterval)
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

    /// - Returns: nil when it isn't known what was granted.
    private func claim(_ id: UUID) async -> [Claim]? {
        let (healthy, failing) = turns.withLockedValue { $0 }
        let (free, freeForFailing) = (Self.mostTurns - healthy - failing, Self.mostFailingTurns - failing)
        guard free > 0 else { return [] }
        let statement = Statement(
            """
            SELECT app_id, id, fence, url, to_json(types) AS types, secret, previous_secret, after_seq, failures
            FROM service.claim_webhooks($1, $2, $3, $4)
            """,
            [
                .uuid(id), .int(free), .int(max(0, min(free, freeForFailing))),
                .text("\(Self.lease.milliseconds) ms"),
            ])
        do throws(DatabaseError) {
            let rows = try await perform(statement).rows
            var claims: [Claim] = []
            for row in rows { claims.append(try Claim(row, sender)) }
            return claims
        } catch {
            if !Task.isCancelled { logger.debug("webhooks can't be claimed now", metadata: ["error": "\(error)"]) }
            return nil
        }
    }

    private func deliver(_ claim: Claim) async {
        var turn = Turn(claim, lease: Self.lease)
        var connection: WebhookConnection?
        if let end = await send(&turn, over: &connection) { _ = await record(&turn, then: end) }
        connection?.close()
    }

    /// Sends events one after the other, until there are none, one fails, or the turn is over.
    ///
    /// - Returns: what is to be recorded then; nil when the webhook is no longer this instance's.
    private func send(_ turn: inout Turn, over connection: inout WebhookConnection?) async -> Next? {
        let end = ContinuousClock.now + Self.turn
        while ContinuousClock.now < end, !Task.isCancelled {
            // Without a page there is nothing to deliver, but something to record perhaps.
            guard let page = try? await page(turn.claim, after: turn.place) else { return .end }
            for event in page.events {
                guard ContinuousClock.now < end, !Task.isCancelled else { return .end }
                if turn.isToBeRecorded(leaving: Self.leastLease, Self.mostUnrecorded, Self.recordInterval) {
                    guard await record(&turn, then: .goOn) else { return nil }
                }
                await failpoint("sending an event")
                let result = await sender.send(event.body, id: event.id, to: turn.claim.target, over: &connection)
                await failpoint("sent an event")
                if result.failure == .stopped { return .end }
                turn.add(result, of: event)
                guard result.isDelivered else {
                    failed.increment()
                    logger.info(
                        "a webhook failed",
                        metadata: [
                            "webhook": "\(turn.claim.webhook.text)", "failures": "\(turn.failures)",
                            "error": "\(result.error ?? "")",
                        ])
                    return .retry(after: result.retryAfter, isGone: result.isGone)
                }
                delivered.increment()
            }
            turn.place = max(turn.place, page.end)
            if !page.mayHaveMore { break }
        }
        return .end
    }

    private func page(_ claim: Claim, after place: Int) async throws(DatabaseError) -> EventPage {
        let deadline = ContinuousClock.now + Self.timeout
        return try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.events(
                of: claim.appID, after: place, limit: Self.pageLength, types: claim.types, deadline: deadline)
        }
    }

    /// Records how far the turn has come, again and again while the database is away: what isn't recorded is delivered twice.
    ///
    /// - Returns: whether the webhook is still this instance's.
    private func record(_ turn: inout Turn, then next: Next) async -> Bool {
        let start = ContinuousClock.now
        let pause = next.pause(afterFailures: turn.failures)
        var round = 1
        while true {
            let attempt = ContinuousClock.now
            let statement = turn.record(next, lease: Self.lease, pause: pause)
            do throws(DatabaseError) {
                // An instance that stops records all the same, so not in a task that is canceled.
                let recorded: String = try await Reactor.shared.apart { () throws(DatabaseError) in
                    try await self.perform(statement).row().get("recorded")
                }
                turn.recorded(leaseEnd: attempt + Self.lease)
                if recorded == "DISABLED" {
                    disabled.increment()
                    logger.warning("a webhook was disabled", metadata: ["webhook": "\(turn.claim.webhook.text)"])
                }
                return recorded == "HELD"
            } catch {
                let end = Task.isCancelled ? start + Self.timeout : turn.leaseEnd + Self.recordPatience
                let isLast = !error.maySucceedLater || ContinuousClock.now >= end
                if isLast || round == 1 {
                    logger.warning(
                        isLast
                            ? "deliveries of a webhook aren't recorded, and so are made again"
                            : "deliveries of a webhook can't be recorded now",
                        metadata: ["webhook": "\(turn.claim.webhook.text)", "error": "\(error)"])
                }
                if isLast { return false }
                round = min(round + 1, Self.longestPause)
                await Task { [round] in await Backoff.pause(round: round, until: end) }.value
            }
        }
    }

    private func perform(_ statement: Statement) async throws(DatabaseError) -> QueryResult {
        let deadline = ContinuousClock.now + Self.timeout
        return try await pool.withConnection(fallingBackTo: substitute, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.perform(statement, deadline: deadline)
        }
    }

    /// 5 s, 30 s, 2 min, 10 min, then 30 min, a fifth more or less, so that receivers aren't tried all at once.
    static func pause(_ failures: Int, atLeast seconds: Int?) -> Duration {
        let steps = [5.0, 30, 120, 600, 1800]
        let pause = steps[min(max(failures, 1), steps.count) - 1] * Double.random(in: 0.8...1.2)
        return .milliseconds(Int(max(pause, Double(seconds ?? 0)) * 1000))
    }

    // MARK: - Secrets

    /// Encrypts the secrets with the first key that are encrypted with another one, so that this can be dropped.
    private func reseal() async {
        var (place, count) = ((app: UUID.zero, webhook: UUID.zero), 0)
        while !Task.isCancelled {
            do throws(DatabaseError) {
                let page = try await perform(
                    Statement(
                        "SELECT app_id, id, secret, previous_secret FROM service.webhook_secrets($1, $2, $3)",
                        [.uuid(place.app), .uuid(place.webhook), .int(Self.pageLength)])
                ).rows
                for row in page {
                    if try await reseal(row) { count += 1 }
                    place = (app: try row.get("app_id"), webhook: try row.get("id"))
                }
                guard page.count == Self.pageLength else { break }
            } catch {
                logger.debug("secrets of webhooks can't be looked through now", metadata: ["error": "\(error)"])
                try? await Task.sleep(for: Self.metricsInterval)
            }
        }
        if count > 0 {
            logger.notice(
                "secrets of webhooks were encrypted with the first key of CUSTOMERD_SECRETS_KEY",
                metadata: ["webhooks": "\(count)"])
        }
    }

    /// - Returns: whether it was encrypted with another key.
    private func reseal(_ row: Row) async throws(DatabaseError) -> Bool {
        let appID: UUID = try row.get("app_id")
        let secret: [UInt8] = try row.get("secret")
        let previous = row.bytes("previous_secret")
        let new = try sender.secrets.resealed(secret, for: appID)
        let newPrevious = try previous.map { old throws(DatabaseError) in
            try sender.secrets.resealed(old, for: appID) ?? old
        }
        guard new != nil || newPrevious != previous else { return false }
        _ = try await perform(
            Statement(
                "SELECT service.reseal_webhook($1, $2, $3, $4, $5, $6)",
                [
                    .uuid(appID), .uuid(try row.get("id")), .bytes(secret), previous.map { .bytes($0) } ?? .null,
                    .bytes(new ?? secret), newPrevious.map { .bytes($0) } ?? .null,
                ]))
        return true
    }

    // MARK: - Metrics

    private func measure() async {
        while !Task.isCancelled {
            let statement = Statement("SELECT seconds, failing FROM service.webhook_lag()")
            if let row = try? await perform(statement).row(), let seconds: Double = try? row.get("seconds"),
                let count: Int = try? row.get("failing")
            {
                lag.record(seconds)
                failing.record(count)
            }
            try? await Task.sleep(for: Self.metricsInterval)
        }
    }
}

extension WebhookDeliverer.Claim {
    fileprivate init(_ row: Row, _ sender: WebhookSender) throws(DatabaseError) {
        appID = try row.get("app_id")
        webhook = try row.get("id")
        fence = try row.get("fence")
        target = sender.target(
            of: appID, url: try row.get("url"), secret: try row.get("secret"), previous: row.bytes("previous_secret"))
        after = try row.get("after_seq")
        failures = try row.get("failures")
        guard let types = row["types"] else {
            self.types = nil
            return
        }
        guard case .array(let elements) = try? JSONReader.value(of: Array(types.utf8)) else {
            throw .unexpected("the types of a webhook are no list")
        }
        var list: [String] = []
        for element in elements {
            guard case .string(let type) = element else { throw .unexpected("a type of events is no text") }
            list.append(type)
        }
        self.types = list
    }
}

/// What follows a record.
private enum Next {
    case goOn
    case end
    case retry(after: Int?, isGone: Bool)

    /// nil unless it is to be tried again.
    func pause(afterFailures failures: Int) -> Duration? {
        guard case .retry(let seconds, _) = self else { return nil }
        return WebhookDeliverer.pause(failures, atLeast: seconds)
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
    private var unrecorded: [(result: WebhookSender.Outcome, event: Event, attempt: Int)] = []
    private var lastRecord = ContinuousClock.now
    /// Records under this claim, the next one included: made again, it has the same number.
    private var number = 1

    init(_ claim: WebhookDeliverer.Claim, lease: Duration) {
        self.claim = claim
        place = claim.after
        failures = claim.failures
        // It was granted a moment ago.
        leaseEnd = .now + lease - .seconds(1)
    }

    mutating func add(_ result: WebhookSender.Outcome, of event: Event) {
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
        number += 1
    }

    func record(_ next: Next, lease: Duration, pause: Duration?) -> Statement {
        let history = JSON.array(
            unrecorded.map { result, event, attempt in
                result.json(seq: event.seq, id: event.id, type: event.type, attempt: attempt)
            })
        let (holds, isGone) =
            switch next {
            case .goOn: (true, false)
            case .end: (false, false)
            case .retry(_, let isGone): (false, isGone)
            }
        return Statement(
            "SELECT service.record_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS recorded",
            [
                .uuid(claim.appID), .uuid(claim.webhook), .int(claim.fence), .int(number),
                .text(history.text), .int(place), holds ? .text("\(lease.milliseconds) ms") : .null, .int(failures),
                pause.map { .text("\($0.milliseconds) ms") } ?? .null, .bool(isGone),
            ])
    }
}

extension WebhookSender.Outcome {
    /// An element of the array that `service.note_deliveries` takes.
    func json(seq: Int?, id: UUID, type: String, attempt: Int) -> JSON {
        [
            "seq": .int(seq), "id": .string(id.text), "type": .string(type), "attempt": .int(attempt),
            "status_code": .int(status), "error": .string(error), "duration_ms": .int(duration.milliseconds),
            "ago_ms": .int((ContinuousClock.now - began).milliseconds),
        ]
    }
}
