import LibPQ
import NIOConcurrencyHelpers

/// Clients that delete customers, each with its own idempotency key, and don't give up before they have an answer.
///
/// It knows of every request that was sent whether and how it was answered, so that the trail can be held to it.
public final class Load: Sendable {
    private struct Sent {
        var requestID: String
        /// nil when there was no answer.
        var status: Int?
    }

    private struct Log {
        var sent: [Sent] = []
        var answers: [String: HTTPAnswer] = [:]
        var longestWait = Duration.zero
    }

    private let tenant: Tenant
    private let customers: [String]
    private let log = NIOLockedValueBox(Log())

    public init(tenant: Tenant, customers: Int) async throws {
        self.tenant = tenant
        self.customers = try await tenant.insert(count: customers)
    }

    /// How many customers have their final answer.
    public var answered: Int { log.withLockedValue { $0.answers.count } }
    public var isDone: Bool { answered == customers.count }

    /// Deletes all customers by so many clients at once.
    public func run(clients: Int) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for client in 0..<clients {
                group.addTask { [self] in
                    for index in stride(from: client, to: customers.count, by: clients) {
                        try await delete(customers[index])
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func delete(_ customer: String) async throws {
        let key = newID()
        let start = ContinuousClock.now
        while ContinuousClock.now - start < .seconds(60) {
            let requestID = newID()
            let call = tenant.deletion(of: customer, idempotencyKey: key, headers: [("x-request-id", requestID)])
            let answer = try? await tenant.send(call)
            log.withLockedValue { $0.sent.append(Sent(requestID: requestID, status: answer?.status)) }
            if let answer, ![409, 500, 503].contains(answer.status) {
                log.withLockedValue {
                    $0.answers[customer] = answer
                    $0.longestWait = max($0.longestWait, ContinuousClock.now - start)
                }
                return
            }
            try await Task.sleep(for: .milliseconds(.random(in: 50...150)))
        }
        throw NeverHappened("customer \(customer) was answered for")
    }

    /// Where the answers and the trail don't tell the same story; nothing, whatever was killed in between.
    ///
    /// - Parameters:
    ///   - database: where to look, if not where the load began.
    ///   - patience: how long anybody may have had to wait for the true answer.
    public func untruths(
        in database: TestDatabase? = nil, patience: Duration = .seconds(30)
    ) async throws -> [String] {
        let database = database ?? tenant.database
        let (sent, answers, longestWait) = log.withLockedValue { ($0.sent, $0.answers, $0.longestWait) }
        let entries = try await database.entries(app: tenant.app)
        let left = try await database.value("SELECT count(*) FROM customers WHERE app_id = $1", [.text(tenant.app)])
        var untruths = untruths(of: answers) + untruths(of: entries) + untruths(of: sent, against: entries)
        if longestWait >= patience { untruths.append("a key was stuck for \(longestWait)") }
        if left != "0" { untruths.append("\(left ?? "no") customers are left") }
        if try await !Trail.verify(database, app: tenant.app).isClean { untruths.append("the chain is broken") }
        return untruths
    }

    /// Each deletion was answered with the record.
    private func untruths(of answers: [String: HTTPAnswer]) -> [String] {
        customers.compactMap { customer in
            guard let answer = answers[customer] else { return "\(customer) was never answered for" }
            let isRecord = answer.status == 200 && answer.body.hasPrefix(#"{"id":"\#(customer)""#)
            return isRecord ? nil : "\(customer) was answered with \(answer)"
        }
    }

    /// There is one entry for each customer that is gone.
    private func untruths(of entries: [TrailEntry]) -> [String] {
        let succeeded = Dictionary(grouping: entries.filter { $0["outcome"] == "SUCCEEDED" }) {
            $0["customer_id"] ?? ""
        }
        let miscounted = customers.filter { succeeded[$0]?.count != 1 }.map {
            "\($0) has \(succeeded[$0]?.count ?? 0) entries"
        }
        let strangers = succeeded.count == customers.count ? [] : ["\(succeeded.count) customers have entries"]
        let interrupted = entries.filter { $0["outcome"] == "INTERRUPTED" && $0["status_code"] != nil }.map { _ in
            "an interrupted attempt has a status"
        }
        return miscounted + strangers + interrupted
    }

    /// Every answer is in the trail, and no attempt is there twice.
    private func untruths(of sent: [Sent], against entries: [TrailEntry]) -> [String] {
        let byRequest = Dictionary(grouping: entries) { $0["request_id"] ?? "" }
        return sent.compactMap { request in
            let recorded = byRequest[request.requestID] ?? []
            if request.status == 500 { return "\(request.requestID) was answered with 500" }
            if recorded.count > 1 { return "\(request.requestID) is in the trail \(recorded.count) times" }
            guard let status = request.status, status != 503 else { return nil }
            return recorded.map { $0["status_code"] } == ["\(status)"]
                ? nil : "\(request.requestID) was answered with \(status), the trail has \(recorded.map(\.text))"
        }
    }

    /// How many requests were answered with a status.
    public func count(of status: Int) -> Int {
        log.withLockedValue { $0.sent.count { $0.status == status } }
    }

    /// How long the slowest customer's true answer took.
    public var longestWait: Duration { log.withLockedValue { $0.longestWait } }
}
