/// Holds the calls under one idempotency key to each other: one effect, one answer.
struct Idempotency: Sendable {
    private(set) var violations: [Violation] = []
    private let dossier: Dossier

    init(_ dossier: Dossier) {
        self.dossier = dossier
        for group in dossier.groups.values {
            checkEffect(group)
            checkAnswers(group)
            checkItems(group)
        }
    }

    private func lines(_ calls: [Call]) -> [String] {
        calls.sorted { $0.invoked < $1.invoked }.map { $0.line(dossier.entry(of: $0)) }
    }

    private mutating func checkEffect(_ group: Dossier.KeyGroup) {
        let owners = group.calls.filter { dossier.entry(of: $0)?.isFinal ?? false }
        if owners.count > 1 {
            violations.append(Violation(.doubleEffect, "one key was carried out twice", lines(owners)))
        }
        let replays = group.calls.filter { $0.answer?.isReplayed ?? false }
        if owners.isEmpty, !replays.isEmpty {
            violations.append(Violation(.changedReplay, "nothing was there to be answered again", lines(replays)))
        }
    }

    /// All bodies are those that the first one was, to the byte, unless personal data was erased from them.
    private mutating func checkAnswers(_ group: Dossier.KeyGroup) {
        let told = group.calls.filter { Dossier.isStored($0.answer) }.sorted { $0.returned < $1.returned }
        let owner = group.calls.first { dossier.entry(of: $0)?.isFinal ?? false }
        let kept = owner.flatMap { dossier.entry(of: $0) }.flatMap { dossier.history.receipts[$0.id]?.body }
        guard let first = told.first(where: { !($0.answer?.isReplayed ?? true) }) ?? told.first,
            let answer = first.answer
        else { return }
        for call in told {
            guard let other = call.answer else { continue }
            let isSame =
                other.status == answer.status
                && (other.body == answer.body
                    || mayBeErased(group, by: call.returned)
                        && (Self.isErasure(other.body, of: answer.body) || Self.isErasure(answer.body, of: other.body)))
            if !isSame {
                violations.append(Violation(.changedReplay, "two answers under one key", lines([first, call])))
            }
            if other.isReplayed, let whole = broughtBack(by: call, first) {
                violations.append(Violation(.personalData, "answered again after its redaction", lines([whole, call])))
            }
        }
        if let kept, kept != answer.body, !Self.isErasure(kept, of: answer.body) {
            violations.append(
                Violation(.changedReplay, "what is kept isn't what was answered", lines([first]) + [kept]))
        }
    }

    /// Whether a redaction that had begun by then concerns a customer of the group.
    private func mayBeErased(_ group: Dossier.KeyGroup, by time: Instant) -> Bool {
        subjects(group).contains { dossier.redactions[$0]?.contains { $0.start <= time } ?? false }
    }

    private func subjects(_ group: Dossier.KeyGroup) -> [Subject] {
        group.calls.flatMap { call -> [Subject] in
            if case .bulkDelete(let ids, _) = call.request { return ids.map { Subject(app: call.app, id: $0) } }
            let customer = call.request.customer ?? dossier.entry(of: call)?.customer
            return customer.map { [Subject(app: call.app, id: $0)] } ?? []
        }
    }

    /// The redaction after which an answer still holds what it erased: it began when the answer was known, and was
    /// over when the answer was asked for again.
    private func broughtBack(by replay: Call, _ first: Call) -> Call? {
        guard let answer = replay.answer, let record = CustomerRecord(text: answer.body), !record.isErased else {
            return nil
        }
        return dossier.history.calls.first { call in
            guard case .redact(record.id) = call.request, call.app == replay.app, call.isSettled else { return false }
            return dossier.entry(of: call)?.outcome == "SUCCEEDED" && call.invoked > first.returned
                && call.returned < replay.invoked
        }
    }

    /// Every customer of a bulk request that was answered has one entry, which says what was answered.
    private mutating func checkItems(_ group: Dossier.KeyGroup) {
        guard case .bulkDelete(let ids, let isDryRun) = group.calls.first?.request else { return }
        let items = group.calls.flatMap { dossier.items(of: $0) }.filter(\.isFinal)
        if isDryRun {
            if !items.isEmpty { violations.append(Violation(.doubleEffect, "a dry run deleted", items.map(\.line))) }
            return
        }
        for (id, entries) in Dictionary(grouping: items, by: { $0.customer ?? "" }) where entries.count > 1 {
            violations.append(
                Violation(.doubleEffect, "customer \(id) twice in one bulk request", entries.map(\.line)))
        }
        guard let call = group.calls.first(where: { Dossier.isStored($0.answer) }), let answer = call.answer else {
            return
        }
        let results = JSONValue(answer.body)?["results"]?.elements ?? []
        guard results.map({ $0["id"]?.string }) == ids.map({ $0 }) else {
            violations.append(Violation(.unexpectedAnswer, "the results aren't those asked for", lines([call])))
            return
        }
        for (id, result) in zip(ids, results) {
            guard let entry = items.first(where: { $0.customer == id }) else {
                violations.append(Violation(.missingEntry, "for customer \(id) of a bulk request", lines([call])))
                continue
            }
            let isRight = result["statusCode"]?.int == entry.status && isRecord(result, entry, since: call.invoked)
            if !isRight {
                violations.append(
                    Violation(.guess, "for customer \(id) of a bulk request", lines([call]) + [entry.line]))
            }
        }
    }

    private func isRecord(_ result: JSONValue, _ entry: Entry, since start: Instant) -> Bool {
        guard entry.outcome == "SUCCEEDED" else { return result["customer"] == nil }
        guard let record = CustomerRecord(result["customer"]) else { return false }
        return entry.image.map { record.isSighting(of: $0.record) } ?? true
    }

    /// Whether a body is another one from which the personal data of some customers was erased.
    static func isErasure(_ body: String, of whole: String) -> Bool {
        guard let body = JSONValue(body), let whole = JSONValue(whole) else { return false }
        return isErasure(body, of: whole)
    }

    private static func isErasure(_ value: JSONValue, of whole: JSONValue) -> Bool {
        if value == whole { return true }
        if let record = CustomerRecord(value), let before = CustomerRecord(whole) {
            return record.isSighting(of: before)
        }
        switch (value, whole) {
        case (.array(let values), .array(let wholes)):
            return values.count == wholes.count && zip(values, wholes).allSatisfy { isErasure($0, of: $1) }
        case (.object(let members), .object(let wholes)):
            return members.map(\.name) == wholes.map(\.name)
                && zip(members, wholes).allSatisfy { isErasure($0.value, of: $1.value) }
        default: return false
        }
    }
}
