/// A history with what belongs together put together: the calls of an idempotency key, the entries of a call.
struct Dossier: Sendable {
    /// The calls under one idempotency key of an app.
    struct KeyGroup: Sendable {
        var calls: [Call] = []

        /// When a client first got the answer that is kept.
        var settledAt: Instant? {
            calls.filter { Dossier.isStored($0.answer) }.map(\.returned).min()
        }
    }

    struct Key: Sendable, Hashable {
        var app: String
        var key: String
    }

    let history: History
    let groups: [Key: KeyGroup]
    let entriesByRequest: [String: [Entry]]
    let callsByRequest: [String: Call]
    /// When the redactions of a customer that succeeded began and were over, with the place of their entries.
    let redactions: [Subject: [(start: Instant, end: Instant, seq: Int)]]

    init(_ history: History) {
        self.history = history
        var groups: [Key: KeyGroup] = [:]
        for call in history.calls {
            guard let key = call.idempotencyKey else { continue }
            groups[Key(app: call.app, key: key), default: KeyGroup()].calls.append(call)
        }
        self.groups = groups
        let entries = Dictionary(grouping: history.entries.filter { $0.requestID != nil }) { $0.requestID ?? "" }
        entriesByRequest = entries
        callsByRequest = Dictionary(history.calls.map { ($0.requestID, $0) }) { first, _ in first }
        var redactions: [Subject: [(start: Instant, end: Instant, seq: Int)]] = [:]
        for call in history.calls {
            guard case .redact(let customer) = call.request else { continue }
            for entry in entries[call.requestID] ?? [] where entry.outcome == "SUCCEEDED" {
                let settledAt = call.idempotencyKey.flatMap { groups[Key(app: call.app, key: $0)]?.settledAt }
                let end = call.isSettled ? call.returned : settledAt ?? history.ended
                redactions[Subject(app: call.app, id: customer), default: []].append((call.invoked, end, entry.seq))
            }
        }
        self.redactions = redactions
    }

    func group(of call: Call) -> KeyGroup? {
        call.idempotencyKey.flatMap { groups[Key(app: call.app, key: $0)] }
    }

    /// The entry of the call itself, not those of the customers in a bulk request.
    func entry(of call: Call) -> Entry? {
        entriesByRequest[call.requestID]?.first { $0.action == call.request.action }
    }

    /// The entries of the customers in a bulk request.
    func items(of call: Call) -> [Entry] {
        guard case .bulkDelete = call.request else { return [] }
        return entriesByRequest[call.requestID]?.filter { $0.action == "customer.delete" } ?? []
    }

    /// Whether an answer is one that is kept and answered again.
    static func isStored(_ answer: CallAnswer?) -> Bool {
        guard let answer else { return false }
        return [200, 201, 400, 404].contains(answer.status)
    }

    /// Whether a redaction that wasn't over when the time began can have erased what was recorded then.
    func mayBeErased(_ subject: Subject, since start: Instant) -> Bool {
        redactions[subject]?.contains { $0.end >= start } ?? false
    }
}

extension Call {
    /// One line for people.
    package func line(_ entry: Entry? = nil) -> String {
        var line = "#\(id) \(invoked.seconds)–\(returned.seconds) s  client \(client) via \(instance)  \(request.name)"
        if let customer = request.customer { line += " \(customer)" }
        if case .bulkDelete(let ids, _) = request { line += " \(ids.joined(separator: ","))" }
        if let idempotencyKey { line += "  key \(idempotencyKey)" }
        if let answer {
            line += "  → \(answer.status)\(answer.isReplayed ? " replayed" : "") \(answer.brief)"
        } else {
            line += "  → no answer"
        }
        if let entry { line += "  | \(entry.line)" }
        return line
    }
}

extension CallAnswer {
    /// For people: a record by what tells it from others.
    fileprivate var brief: String { CustomerRecord(text: body)?.brief ?? body }
}

extension Entry {
    /// One line for people.
    var line: String {
        "seq \(seq) \(action) \(outcome) \(status.map { String($0) } ?? "–") \(image?.record.brief ?? beforeImage ?? "no image")"
    }
}

extension Instant {
    /// Seconds with three decimals.
    package var seconds: String {
        let milliseconds = String(abs(self / 1_000_000) % 1000)
        return "\(self / 1_000_000_000)." + String(repeating: "0", count: 3 - milliseconds.count) + milliseconds
    }
}
