/// Holds calls and entries to each other: each answered write has one entry that says the same, and no entry is left.
struct Accounting: Sendable {
    private(set) var violations: [Violation] = []
    private let dossier: Dossier
    private var history: History { dossier.history }

    init(_ dossier: Dossier) {
        self.dossier = dossier
        for call in history.calls {
            guard let action = call.request.action else {
                if let status = call.answer?.status, ![200, 404, 429, 503].contains(status) {
                    violations.append(Violation(.unexpectedAnswer, "to a read", [call.line()]))
                }
                continue
            }
            check(call, action)
        }
        checkFolded()
        for entry in history.entries where entry.folded == nil {
            if entry.requestID.flatMap({ dossier.callsByRequest[$0] }) == nil {
                violations.append(Violation(.surplusEntry, "no call made it", [entry.line]))
            }
        }
        let ids = Dictionary(grouping: history.entries, by: \.id).filter { $0.value.count > 1 }
        for (id, entries) in ids {
            violations.append(Violation(.surplusEntry, "attempt \(id) is recorded twice", entries.map(\.line)))
        }
        for (id, receipt) in history.receipts where receipt.entrySeq == nil || receipt.outcome == nil {
            violations.append(
                Violation(.unfinishedAttempt, "attempt \(id) has \(receipt.outcome ?? "no outcome") and no entry"))
        }
    }

    private mutating func check(_ call: Call, _ action: String) {
        let all = dossier.entriesByRequest[call.requestID] ?? []
        let own = all.filter { $0.action == action }
        let items = dossier.items(of: call)
        if own.count > 1 || own.count + (action == "customer.delete" ? 0 : items.count) < all.count {
            violations.append(Violation(.surplusEntry, "for one call", [call.line()] + all.map(\.line)))
        }
        for entry in own + items { checkContext(entry, of: call) }
        checkItems(items, of: call)
        if let entry = own.first { checkReceipt(of: entry, call) }
        if let status = call.answer?.status, status == 500 || status == 400 && !isRefusable(call.request) {
            violations.append(Violation(.unexpectedAnswer, "to a good request", [call.line(own.first)]))
        }
        guard let answer = call.answer, answer.status != 503 else {
            // No client was told anything, so it may say anything but that the service failed.
            if let entry = own.first, entry.status == 500 {
                violations.append(Violation(.unexpectedAnswer, "recorded though not told", [call.line(entry)]))
            }
            return
        }
        guard let entry = own.first else {
            if answer.status != 429 {
                violations.append(Violation(.missingEntry, "the answer was given", [call.line()]))
            }
            return
        }
        if entry.status != answer.status || entry.outcome != Self.outcome(of: answer) {
            violations.append(Violation(.guess, "the trail disagrees", [call.line(entry)]))
        }
        checkImage(entry, call, answer)
    }

    private func isRefusable(_ request: Request) -> Bool {
        if case .delete = request { true } else { false }
    }

    /// What the trail calls an answer.
    private static func outcome(of answer: CallAnswer) -> String {
        if answer.isReplayed { return "REPLAYED" }
        return switch answer.status {
        case 200, 201: "SUCCEEDED"
        case 400: "REFUSED"
        case 404: "NOT_FOUND"
        case 409, 412, 422: "CONFLICT"
        case 429: "RATE_LIMITED"
        default: "FAILED"
        }
    }

    private mutating func checkContext(_ entry: Entry, of call: Call) {
        var wrong: [String] = []
        if entry.app != call.app { wrong.append("app \(entry.app)") }
        if entry.idempotencyKey != call.idempotencyKey { wrong.append("key \(entry.idempotencyKey ?? "none")") }
        switch call.request {
        case .create:
            let isExpected = ["SUCCEEDED", "REPLAYED"].contains(entry.outcome)
            if (entry.customer != nil) != isExpected { wrong.append("customer \(entry.customer ?? "none")") }
        case .bulkDelete(let ids, _):
            let isExpected =
                entry.action == "customer.delete"
                ? entry.customer.map { ids.contains($0) } ?? false : entry.customer == nil
            if !isExpected { wrong.append("customer \(entry.customer ?? "none")") }
        default:
            if entry.customer != call.request.customer { wrong.append("customer \(entry.customer ?? "none")") }
        }
        if entry.outcome == "INTERRUPTED" && entry.status != nil { wrong.append("status though interrupted") }
        if entry.beforeImage != nil && entry.image == nil { wrong.append("an image that is no record") }
        guard !wrong.isEmpty else { return }
        violations.append(Violation(.wrongEntry, wrong.joined(separator: ", "), [call.line(entry)]))
    }

    /// A deletion's entry holds what was answered, unless a redaction came in between.
    private mutating func checkImage(_ entry: Entry, _ call: Call, _ answer: CallAnswer) {
        guard case .delete = call.request, let subject = call.subject else { return }
        guard ["SUCCEEDED", "REFUSED"].contains(entry.outcome) else { return }
        guard let image = entry.image else {
            if !dossier.mayBeErased(subject, since: call.invoked) {
                violations.append(Violation(.wrongEntry, "it lacks its before-image", [call.line(entry)]))
            }
            return
        }
        guard entry.outcome == "SUCCEEDED", let record = CustomerRecord(text: answer.body) else { return }
        if !record.isSighting(of: image.record) {
            violations.append(Violation(.wrongEntry, "its before-image isn't what was answered", [call.line(entry)]))
        }
    }

    private mutating func checkReceipt(of entry: Entry, _ call: Call) {
        guard entry.isFinal else { return }
        guard let receipt = history.receipts[entry.id], receipt.body != nil, receipt.outcome == entry.outcome else {
            violations.append(Violation(.unfinishedAttempt, "it has no receipt to match", [call.line(entry)]))
            return
        }
        if receipt.entrySeq != entry.seq {
            violations.append(
                Violation(.unfinishedAttempt, "its receipt names another entry", [call.line(entry)]))
        }
    }

    private mutating func checkItems(_ items: [Entry], of call: Call) {
        for item in items where item.status == 500 {
            violations.append(Violation(.unexpectedAnswer, "for a customer of a bulk request", [call.line(item)]))
        }
    }

    /// Answers beyond the limit are recorded one by one, and in a flood by their number.
    private mutating func checkFolded() {
        let unrecorded = history.calls.filter {
            $0.answer?.status == 429 && $0.request.action != nil && dossier.entry(of: $0) == nil
        }
        let folded = history.entries.reduce(0) { $0 + ($1.folded ?? 0) }
        guard unrecorded.count > folded else { return }
        violations.append(
            Violation(
                .missingEntry, "\(unrecorded.count) refusals by the rate limit, of which \(folded) are folded",
                unrecorded.prefix(3).map { $0.line() }))
    }
}
