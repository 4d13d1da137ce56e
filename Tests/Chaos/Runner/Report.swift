import ChaosJudge

/// What a run prints.
struct Report: Sendable {
    let run: Run
    let outcome: Run.Outcome
    /// How many violations are told in full.
    private static let shown = 5

    var text: String {
        ([headline] + operations + faults + summary + outages + failures).joined(separator: "\n")
    }

    private var headline: String {
        switch run.place {
        case .inside(let seconds): "seed \(run.seed), \(seconds) s, \(run.clients) clients"
        case .outside: "seed \(run.seed), \(run.clients) clients, a server outside"
        }
    }

    /// What each fault cost, as a table in Markdown, where faults come one at a time.
    private var outages: [String] {
        guard case .outside = run.place else { return [] }
        let head = "fault | requests | 503 | no answer | s without service | longest wait of a client, s | lost entries"
        return ["", "| \(head) |", "|---|" + String(repeating: "--:|", count: 6)]
            + Outage.all(outcome.faults, in: outcome.history).map { outage in
                "| \(outage.fault) | \(outage.requests) | \(outage.unavailable) | \(outage.unanswered)"
                    + " | \(outage.withoutService.seconds) | \(outage.longestWait.seconds) | \(outage.lostEntries) |"
            }
    }

    /// Every call with its entry, a line each.
    var history: String {
        let entries = Dictionary(grouping: outcome.history.entries) { $0.requestID ?? "" }
        return outcome.history.calls.map { call in
            call.line(entries[call.requestID]?.first { $0.action == call.request.action })
        }.joined(separator: "\n")
    }

    /// By kind, how often each status was answered.
    private var operations: [String] {
        let calls = Dictionary(grouping: outcome.history.calls, by: \.request.name)
        let invoices = Dictionary(grouping: outcome.history.invoices) {
            $0.kind == .add ? "add invoice (SQL)" : "remove invoice (SQL)"
        }
        let lines = calls.mapValues { Self.counts($0.map { Self.status($0.answer) }) }
            .merging(invoices.mapValues { Self.counts($0.map { "\($0.outcome)" }) }) { $1 }
        let total = outcome.history.calls.count + outcome.history.invoices.count
        return ["operations: \(total)"] + lines.sorted { $0.key < $1.key }.map { "  \($0.key): \($0.value)" }
    }

    private static func status(_ answer: CallAnswer?) -> String {
        guard let answer else { return "no answer" }
        if answer.saysInProgress { return "409 in progress" }
        return "\(answer.status)\(answer.isReplayed ? " replayed" : "")"
    }

    private static func counts(_ values: [String]) -> String {
        Dictionary(grouping: values) { $0 }.sorted { $0.key < $1.key }.map { "\($0.key) × \($0.value.count)" }
            .joined(separator: ", ")
    }

    private var faults: [String] {
        ["faults: \(outcome.faults.count)", "  " + Self.counts(outcome.faults.map(\.name))]
    }

    private var summary: [String] {
        let verdict = outcome.verdict
        return [
            "took: "
                + outcome.phases.map { "\($0.name) \($0.duration.components.seconds) s" }.joined(separator: ", "),
            "audit entries: \(outcome.history.entries.count)",
            "put into order: \(verdict.operations) operations on \(verdict.customers) customers",
            "errors logged: \(Self.counts(errors))",
            "longest wait for a true outcome: \(verdict.longestWait.seconds) s",
            verdict.violations.isEmpty ? "verdict: good" : "verdict: \(verdict.violations.count) violations",
        ]
    }

    /// The messages of the errors that the instances logged, without what differs from one to the other.
    private var errors: [String] {
        outcome.log.split(separator: "\n").filter { $0.contains(" error customerd") }.map { line in
            String(line.split(separator: "] ", maxSplits: 1).last ?? line)
        }
    }

    private var failures: [String] {
        let violations = outcome.verdict.violations
        guard !violations.isEmpty else { return [] }
        let kinds = Self.counts(violations.map(\.kind.rawValue))
        let faults = outcome.faults.map { "  \($0.began.seconds)–\($0.over.seconds) s  \($0.name)" }
        return ["", kinds] + violations.prefix(Self.shown).map { "\n\($0)" } + ["", "what went wrong when:"] + faults
            + replay
    }

    private var replay: [String] {
        guard case .inside(let seconds) = run.place else { return [] }
        return ["", "to replay: scripts/chaos --seed \(run.seed) --seconds \(seconds) --clients \(run.clients)"]
    }
}
