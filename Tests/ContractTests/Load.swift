import Synchronization
import LibPQ
import TestSupport
import Testing

/// Clients that delete customers, each with its own idempotency key, and don't give up before they have an answer.
///
/// It knows of every request that was sent whether and how it was answered, so that the trail can be held to it.
final class Load: Sendable {
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
    private let log = Mutex(Log())

    init(tenant: Tenant, customers: Int) async throws {
        self.tenant = tenant
        self.customers = try await tenant.insert(count: customers)
    }

    /// How many customers have their final answer.
    var answered: Int { log.withLock { $0.answers.count } }
    var isDone: Bool { answered == customers.count }

    /// Deletes all customers by so many clients at once.
    func run(clients: Int) async throws {
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
            log.withLock { $0.sent.append(Sent(requestID: requestID, status: answer?.status)) }
            if let answer, ![409, 500, 503].contains(answer.status) {
                log.withLock {
                    $0.answers[customer] = answer
                    $0.longestWait = max($0.longestWait, ContinuousClock.now - start)
                }
                return
            }
            try await Task.sleep(for: .milliseconds(.random(in: 50...150)))
        }
        throw NeverHappened("customer \(customer) was answered for")
    }

    /// What must hold, whatever was killed in between.
    func expectTruth() async throws {
        let (sent, answers, longestWait) = log.withLock { ($0.sent, $0.answers, $0.longestWait) }
        #expect(answers.count == customers.count)
        #expect(Set(answers.values.map(\.status)) == [200], "whoever asked to delete a customer gets its record")
        #expect(answers.allSatisfy { $1.body.hasPrefix(#"{"id":"\#($0)""#) })
        #expect(longestWait < .seconds(30), "no key is stuck")
        #expect(!sent.contains { $0.status == 500 })
        let left = try await tenant.database.value(
            "SELECT count(*) FROM customers WHERE app_id = $1", [.text(tenant.app)])
        #expect(left == "0")

        let entries = try await tenant.entries()
        let succeeded = Dictionary(grouping: entries.filter { $0["outcome"] == "SUCCEEDED" }) {
            $0["customer_id"] ?? ""
        }
        #expect(customers.filter { succeeded[$0]?.count != 1 } == [], "one entry for each customer that is gone")
        #expect(succeeded.count == customers.count)
        for entry in entries where entry["outcome"] == "INTERRUPTED" { #expect(entry["status_code"] == nil) }

        let byRequest = Dictionary(grouping: entries) { $0["request_id"] ?? "" }
        for request in sent {
            let recorded = byRequest[request.requestID] ?? []
            #expect(recorded.count <= 1, "no attempt is recorded twice")
            guard let status = request.status, status != 503 else { continue }
            #expect(recorded.map { $0["status_code"] } == ["\(status)"], "every answer is in the trail")
        }
        #expect(try await Trail.verify(tenant.database, app: tenant.app).isClean)
    }
}
