import LibPQ
import NIOConcurrencyHelpers
import TestSupport

/// What a tenant does all day: reads and deletions, mixed, at a steady pace. It keeps the time of every answer.
final class Business: Sendable {
    /// What came of one phase.
    struct Phase: Sendable, CustomStringConvertible {
        /// How long each answer took, the shortest first.
        fileprivate(set) var latencies: [Duration] = []
        /// Answers other than 200, and requests without any.
        fileprivate(set) var disappointments: [String] = []

        /// How long 99 of 100 answers took at most.
        var p99: Duration { quantile(0.99) }
        var median: Duration { quantile(0.5) }

        private func quantile(_ share: Double) -> Duration {
            latencies.isEmpty ? .zero : latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))]
        }

        var description: String {
            "\(latencies.count) answers: median \(median), p99 \(p99), last \(latencies.last ?? .zero)"
        }
    }

    private static let clients = 3
    /// From one request of a client to its next.
    private static let pace = Duration.milliseconds(30)

    private let tenant: Tenant
    private let customers: NIOLockedValueBox<[String]>
    private let deleted = NIOLockedValueBox(0)

    /// - Parameter customers: how many there are to delete.
    init(_ tenant: Tenant, customers: Int = 20_000) async throws {
        self.tenant = tenant
        self.customers = NIOLockedValueBox(try await tenant.insert(count: customers))
    }

    /// Goes about it until the body is done.
    func during<Value: Sendable>(
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> (phase: Phase, value: Value) {
        let clients = (0..<Self.clients).map { _ in Task { await self.work() } }
        let value: Value
        do {
            value = try await body()
        } catch {
            for client in clients { client.cancel() }
            throw error
        }
        for client in clients { client.cancel() }
        var phase = Phase()
        for client in clients {
            let part = await client.value
            phase.latencies += part.latencies
            phase.disappointments += part.disappointments
        }
        phase.latencies.sort()
        return (phase, value)
    }

    /// Goes about it for a time.
    func run(for duration: Duration) async throws -> Phase {
        try await during { try await Task.sleep(for: duration) }.phase
    }

    private func work() async -> Phase {
        var phase = Phase()
        var next = ContinuousClock.now
        repeat {
            let start = ContinuousClock.now
            // Not of this task, so that the last request isn't cut off.
            let result = await Task { try await ask() }.result
            phase.latencies.append(.now - start)
            switch result {
            case .success(nil): break
            case .success(let answer?): phase.disappointments.append(answer)
            case .failure(let error): phase.disappointments.append("\(error)")
            }
            next = max(next + Self.pace, .now)
            try? await Task.sleep(until: next)
        } while !Task.isCancelled
        return phase
    }

    /// Reads a customer or deletes it.
    ///
    /// - Returns: an answer that wasn't 200.
    private func ask() async throws -> String? {
        let isDeletion = Bool.random()
        let customer = customers.withLockedValue { isDeletion ? $0.popLast() : $0.first }
        guard let customer else { return "no customers are left" }
        let answer = try await isDeletion ? tenant.delete(customer) : tenant.read(customer)
        if isDeletion, answer.status == 200 { deleted.withLockedValue { $0 += 1 } }
        return answer.status == 200 ? nil : "\(answer)"
    }

    /// Whether there is an entry for every deletion that was answered.
    var isRecorded: Bool {
        get async throws {
            let entries = try await tenant.database.value(
                "SELECT count(*) FROM audit.entries WHERE app_id = $1 AND outcome = 'SUCCEEDED'", [.text(tenant.app)])
            return entries == String(deleted.withLockedValue { $0 })
        }
    }
}
