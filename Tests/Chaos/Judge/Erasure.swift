/// Holds redactions to their word: what was there before the last one is nowhere any more.
struct Erasure: Sendable {
    private(set) var violations: [Violation] = []
    private let dossier: Dossier

    /// - Parameter orders: in which the operations on each customer took effect, where that was found out.
    init(_ dossier: Dossier, orders: [Subject: [TimedEffect]]) {
        self.dossier = dossier
        for (subject, redactions) in dossier.redactions {
            guard let last = redactions.map(\.seq).max() else { continue }
            checkTrail(subject, before: last)
            checkMarks(subject, before: last, orders[subject] ?? [])
        }
    }

    private mutating func checkTrail(_ subject: Subject, before seq: Int) {
        let kept = dossier.history.entries.filter {
            $0.app == subject.app && $0.customer == subject.id && $0.seq < seq
                && ($0.beforeImage != nil || $0.reason != nil || $0.errorMessage != nil)
        }
        guard !kept.isEmpty else { return }
        violations.append(Violation(.personalData, "in entries of \(subject)", kept.map(\.line)))
    }

    private mutating func checkMarks(_ subject: Subject, before seq: Int, _ order: [TimedEffect]) {
        let calls = Dictionary(dossier.history.calls.map { ($0.id, $0) }) { first, _ in first }
        var earlier: [Call] = []
        if let last = order.lastIndex(where: { if case .redacted = $0.effect { true } else { false } }) {
            earlier = order[..<last].filter { !$0.effect.isSight }.compactMap { $0.call.flatMap { calls[$0] } }
        }
        // A reason is recorded in the order of the trail; personal data of a change follows that of the changes.
        let ofSubject = dossier.history.entries.filter { $0.app == subject.app && $0.customer == subject.id }
        let recorded = ofSubject.filter { $0.seq < seq }.compactMap(call)
        // The redaction itself, repeated until it was done, or what came later may give the reason again. An attempt to create
        // that came to nothing names no customer.
        let kept = dossier.history.entries.filter { $0.customer != subject.id || $0.seq >= seq }
        let later = Set(kept.compactMap(call).compactMap(\.reason?.mark))
        let reasons = Set(recorded.compactMap(\.reason?.mark)).subtracting(later)
        let left = reasons.union(earlier.compactMap(\.request.person?.mark)).intersection(dossier.history.marks)
        guard !left.isEmpty else { return }
        let sources = Set(earlier + recorded).sorted { $0.invoked < $1.invoked }.filter { call in
            [call.request.person?.mark, call.reason?.mark].contains { $0.map(left.contains) ?? false }
        }
        violations.append(
            Violation(
                .personalData, "\(left.sorted().joined(separator: ", ")) of \(subject)",
                sources.map { $0.line(dossier.entry(of: $0)) }))
    }

    private func call(of entry: Entry) -> Call? {
        entry.requestID.flatMap { dossier.callsByRequest[$0] }
    }
}
