import Synchronization
import TestSupport

/// A deletion that was asked for and may not be answered yet.
final class Question: Sendable {
    let requestID: String
    private let task: Task<HTTPAnswer?, Never>
    private let ending: Ending

    private final class Ending: Sendable {
        let hasCome = Atomic(false)
    }

    init(_ customer: String, of tenant: Tenant, idempotencyKey: String) {
        let requestID = newID()
        let ending = Ending()
        let call = tenant.deletion(
            of: customer, idempotencyKey: idempotencyKey, headers: [("x-request-id", requestID)])
        self.requestID = requestID
        self.ending = ending
        task = Task {
            let answer = try? await tenant.send(call)
            ending.hasCome.store(true, ordering: .releasing)
            return answer
        }
    }

    /// Whether it was answered, or lost.
    var isOver: Bool { ending.hasCome.load(ordering: .acquiring) }

    /// nil when it was lost.
    var answer: HTTPAnswer? {
        get async { await task.value }
    }
}
