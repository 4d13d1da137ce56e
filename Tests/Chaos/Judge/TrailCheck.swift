/// Holds the trail to itself, to time and to what its readers saw.
struct TrailCheck: Sendable {
    private(set) var violations: [Violation] = []
    private let dossier: Dossier
    private let chains: [String: [Entry]]

    init(_ dossier: Dossier) {
        self.dossier = dossier
        chains = Dictionary(grouping: dossier.history.entries, by: \.app).mapValues {
            $0.sorted { $0.seq < $1.seq }
        }
        for (app, chain) in chains {
            if chain.map(\.seq) != Array(1...chain.count) {
                violations.append(Violation(.brokenChain, "the chain of app \(app) doesn't count 1, 2, 3 …"))
            }
            checkOrder(app, chain)
        }
        let report = dossier.history.chain
        if report.reason != nil || report.verified != report.entries || report.entries != dossier.history.entries.count
        {
            violations.append(
                Violation(
                    .brokenChain,
                    "audit verify finds \(report.verified) of \(report.entries) good, \(report.reason ?? "no reason")"))
        }
        for call in dossier.history.calls {
            if case .trail(let customer) = call.request { checkReading(call, customer) }
        }
    }

    /// The entry of what was answered stands before that of what was asked afterwards.
    private mutating func checkOrder(_ app: String, _ chain: [Entry]) {
        var answered: [(returned: Instant, seq: Int, call: Call)] = []
        for entry in chain {
            guard let call = call(of: entry), call.answer != nil, call.answer?.status != 503 else { continue }
            answered.append((call.returned, entry.seq, call))
        }
        answered.sort { $0.returned < $1.returned }
        var latest: [Int] = []
        for index in answered.indices {
            let previous = latest.last ?? index
            latest.append(answered[index].seq > answered[previous].seq ? index : previous)
        }
        for entry in chain {
            guard let call = call(of: entry) else { continue }
            let count = answered.partitioningIndex { $0.returned >= call.invoked }
            guard count > 0 else { continue }
            let other = answered[latest[count - 1]]
            if other.seq > entry.seq {
                violations.append(
                    Violation(
                        .wrongOrder, "an entry stands before that of an earlier call",
                        [other.call.line(dossier.entry(of: other.call)), call.line(entry)]))
            }
        }
    }

    private func call(of entry: Entry) -> Call? {
        entry.requestID.flatMap { dossier.callsByRequest[$0] }
    }

    /// A reader sees a stretch of the trail without gaps, as it is, with all that was answered before.
    private mutating func checkReading(_ call: Call, _ customer: String) {
        guard
            let answer = call.answer, answer.status == 200, let page = JSONValue(answer.body),
            let shown = page["data"]?.elements
        else { return }
        let all = (chains[call.app] ?? []).filter { $0.customer == customer }
        let bySeq = Dictionary(all.map { ($0.seq, $0) }) { first, _ in first }
        let seqs = shown.compactMap { $0["seq"]?.int }
        for entry in shown {
            let real = entry["seq"]?.int.flatMap { bySeq[$0] }
            let isReal =
                real.map {
                    $0.id == entry["id"]?.string && $0.outcome == entry["outcome"]?.string
                        && $0.action == entry["action"]?.string && $0.status == entry["status_code"]?.int
                } ?? false
            if !isReal {
                violations.append(
                    Violation(.staleTrail, "an entry that isn't in the trail", [call.line(), entry.text]))
            }
        }
        let isWhole = page["next_cursor"] == .null
        let oldest = isWhole ? 0 : seqs.last ?? 0
        let newest = seqs.first ?? 0
        let missing = all.filter { entry in
            guard !seqs.contains(entry.seq), entry.seq >= oldest else { return false }
            return entry.seq <= newest || wasAnswered(entry, before: call.invoked)
        }
        if !missing.isEmpty {
            violations.append(Violation(.staleTrail, "it lacks entries", [call.line()] + missing.map(\.line)))
        }
    }

    private func wasAnswered(_ entry: Entry, before time: Instant) -> Bool {
        guard let call = call(of: entry), let answer = call.answer else { return false }
        return answer.status != 503 && call.returned < time
    }
}

extension Array {
    /// The number of elements before the first that fulfils a condition, which all behind it fulfil, too.
    fileprivate func partitioningIndex(_ condition: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if condition(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
