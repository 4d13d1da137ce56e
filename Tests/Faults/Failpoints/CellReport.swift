import TestSupport

/// What became of a cell.
struct CellReport: Sendable {
    /// A request that was sent.
    struct Sent: Sendable {
        var requestID: String
        /// nil when there was no answer.
        var status: Int?
    }

    let cell: Cell
    let customer: String
    let idempotencyKey: String
    /// Whether the request came to the moment, so that something went wrong at all.
    var isReached = false
    var sent: [Sent] = []
    var truth: HTTPAnswer
    var answer: HTTPAnswer?
    /// From the fault to the true answer.
    var elapsed = Duration.zero
    /// Where it isn't as it must be.
    var problems: [String] = []

    init(cell: Cell, customer: String, truth: HTTPAnswer, idempotencyKey: String) {
        self.cell = cell
        self.customer = customer
        self.truth = truth
        self.idempotencyKey = idempotencyKey
    }

    mutating func expect(_ isTrue: Bool, _ problem: @autoclosure () -> String) {
        if !isTrue { problems.append(problem()) }
    }

    /// Holds the trail of its customer to what was answered.
    mutating func check(_ trail: [TrailEntry]) {
        let entries = trail.filter { $0["customer_id"] == customer }
        let outcomes = entries.compactMap { $0["outcome"] }
        let final = outcomes.filter { ["SUCCEEDED", "REFUSED", "NOT_FOUND"].contains($0) }
        expect(final == [cell.target.outcome], "the trail says \(outcomes)")
        let ofRequests = Set(sent.map(\.requestID))
        expect(entries.allSatisfy { ofRequests.contains($0["request_id"] ?? "") }, "an entry without a request")
        for request in sent {
            let recorded = entries.filter { $0["request_id"] == request.requestID }
            expect(recorded.count <= 1, "an attempt was recorded \(recorded.count) times")
            guard let status = request.status, status != 503 else { continue }
            let statuses = recorded.map { $0["status_code"] ?? "NULL" }
            expect(statuses == [String(status)], "what was answered with \(status) was recorded with \(statuses)")
        }
    }

    /// One line of the table.
    var line: String {
        guard isReached else { return "\(cell) | not reached | \(answer?.status ?? 0) |" }
        let first = sent.first?.status.map { String($0) } ?? "lost"
        let replayed = answer?["idempotent-replayed"] == "true" ? " replayed" : ""
        return "\(cell) | \(first) | \(answer?.status ?? 0)\(replayed) | \(elapsed.milliseconds) ms"
            + problems.map { " | \($0)" }.joined()
    }
}

extension Duration {
    var milliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}
