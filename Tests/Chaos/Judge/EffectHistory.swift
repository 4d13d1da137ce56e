/// What was done to and seen of each customer, as the calls, the trail and what is left tell it together.
struct EffectHistory: Sendable {
    private(set) var bySubject: [Subject: [TimedEffect]] = [:]
    private let dossier: Dossier
    private var history: History { dossier.history }

    init(_ dossier: Dossier) {
        self.dossier = dossier
        for subject in dossier.history.initial.keys { bySubject[subject] = [] }
        for call in history.calls {
            if call.request.action == nil { addSights(of: call) } else { addEffects(of: call) }
        }
        addInvoices()
        for call in history.calls { if case .list = call.request { addList(call) } }
        addRemains()
        bySubject = bySubject.mapValues { $0.sorted { ($0.start, $0.end) < ($1.start, $1.end) } }
    }

    private mutating func add(
        _ effect: Effect, to subject: Subject, of call: Call, until end: Instant? = nil, entry: Entry? = nil
    ) {
        bySubject[subject, default: []].append(
            TimedEffect(
                call: call.id, effect: effect, start: call.invoked, end: end ?? call.returned,
                hint: entry?.seq ?? .max, summary: call.line(entry)))
    }

    // MARK: - Writes

    private mutating func addEffects(of call: Call) {
        if case .bulkDelete(let ids, let isDryRun) = call.request {
            if isDryRun { addDryRun(call, ids) } else { addItems(of: call) }
            return
        }
        guard let entry = dossier.entry(of: call), let customer = call.request.customer ?? entry.customer else {
            return
        }
        guard let effect = effect(of: call, entry, on: Subject(app: call.app, id: customer)) else { return }
        // Without an answer of its own it was done by when a client got the answer, or everything was quiet.
        let end = call.isSettled ? call.returned : dossier.group(of: call)?.settledAt ?? history.ended
        add(effect, to: Subject(app: call.app, id: customer), of: call, until: end, entry: entry)
    }

    private func effect(of call: Call, _ entry: Entry, on subject: Subject) -> Effect? {
        switch entry.outcome {
        case "SUCCEEDED": success(of: call, entry, on: subject)
        case "REFUSED": .refused(before: entry.image)
        case "NOT_FOUND":
            switch call.request {
            case .redact: .unheardOf
            case .restore: .neverDeleted
            default: .absent
            }
        case "CONFLICT": conflict(of: call, entry)
        default: nil
        }
    }

    private func success(of call: Call, _ entry: Entry, on subject: Subject) -> Effect? {
        let answered = answeredRecord(call, entry)
        if case .delete = call.request { return deletion(entry, else: answered, of: call, subject) }
        guard let answered else { return nil }
        return switch call.request {
        case .create(let person): .created(person, after: answered)
        case .update(_, let changes): .updated(changes, before: entry.image, after: answered)
        case .setStatus(_, let status): .statusSet(status, before: entry.image, after: answered)
        case .archive: .archived(true, before: entry.image, after: answered)
        case .unarchive: .archived(false, before: entry.image, after: answered)
        case .redact: .redacted(after: answered)
        case .restore: .restored(after: answered)
        case .delete, .bulkDelete, .read, .check, .list, .trail: nil
        }
    }

    /// - Parameter answered: what the deletion answered, for an entry whose before-image is erased.
    private func deletion(
        _ entry: Entry, else answered: CustomerRecord?, of call: Call, _ subject: Subject
    ) -> Effect {
        .deleted(
            before: entry.image ?? answered.map { CustomerImage($0, isArchived: nil) },
            mayLoseImage: dossier.mayBeErased(subject, since: call.invoked))
    }

    /// A conflict that no client was told can't be told from one with an earlier request; it changed nothing anyhow.
    private func conflict(of call: Call, _ entry: Entry) -> Effect? {
        guard let answer = call.answer, answer.isFinal else { return nil }
        switch (answer.status, call.request) {
        case (409, .restore):
            return answer.message == "Customer already exists" ? .exists(before: entry.image) : .notRestorable
        case (412, .update(_, let changes)): return .mismatched(changes, before: entry.image)
        default: return nil
        }
    }

    /// The record in the answer to the attempt.
    private func answeredRecord(_ call: Call, _ entry: Entry) -> CustomerRecord? {
        let own = Dossier.isStored(call.answer) ? call.answer?.body : nil
        let replayed = dossier.group(of: call)?.calls.first { Dossier.isStored($0.answer) }?.answer?.body
        let kept = dossier.history.receipts[entry.id]?.body
        return [own, replayed, kept].lazy.compactMap { $0.flatMap { CustomerRecord(text: $0) } }.first
    }

    // MARK: - Bulk requests

    private mutating func addItems(of call: Call) {
        let end = dossier.group(of: call)?.settledAt ?? history.ended
        for item in dossier.items(of: call) {
            guard let customer = item.customer else { continue }
            let subject = Subject(app: call.app, id: customer)
            let effect: Effect
            switch item.outcome {
            case "SUCCEEDED":
                let kept = dossier.history.receipts[item.id]?.body.flatMap { CustomerRecord(text: $0) }
                effect = deletion(item, else: kept, of: call, subject)
            case "REFUSED": effect = .refused(before: item.image)
            case "NOT_FOUND": effect = .absent
            default: continue
            }
            add(effect, to: subject, of: call, until: end, entry: item)
        }
    }

    /// What the run that was kept saw; those that came to nothing answered no client.
    private mutating func addDryRun(_ call: Call, _ ids: [String]) {
        guard
            let entry = dossier.entry(of: call), entry.outcome == "SUCCEEDED",
            let body = dossier.group(of: call)?.calls.first(where: { Dossier.isStored($0.answer) })?.answer?.body
                ?? dossier.history.receipts[entry.id]?.body,
            let results = JSONValue(body)?["results"]?.elements, results.count == ids.count
        else { return }
        let end = call.isSettled ? call.returned : dossier.group(of: call)?.settledAt ?? history.ended
        for (id, result) in zip(ids, results) {
            let effect: Effect? =
                switch result["statusCode"]?.int {
                case 200: CustomerRecord(result["customer"]).map { .dryRun(before: $0) }
                case 400: .dryRefused
                case 404: .absent
                default: nil
                }
            if let effect { add(effect, to: Subject(app: call.app, id: id), of: call, until: end, entry: entry) }
        }
    }

    // MARK: - Reads

    private mutating func addSights(of call: Call) {
        guard let subject = call.subject, let answer = call.answer else { return }
        switch (call.request, answer.status) {
        case (.read, 200):
            if let record = CustomerRecord(text: answer.body) { add(.read(record), to: subject, of: call) }
        case (.check, 200):
            guard
                let check = JSONValue(answer.body), let record = CustomerRecord(check["customer"]),
                let blockers = check["blockers"]?.elements
            else { return }
            let invoices = blockers.reduce(0) { $0 + ($1["count"]?.int ?? 0) }
            add(.checked(record, invoices: invoices), to: subject, of: call)
        case (.read, 404), (.check, 404):
            add(.absent, to: subject, of: call)
        default: break
        }
    }

    /// A list shows who is there and, when it is whole, who isn't.
    private mutating func addList(_ call: Call) {
        guard
            let answer = call.answer, answer.status == 200, let list = JSONValue(answer.body),
            let data = list["data"]?.elements, let total = list["total"]?.int
        else { return }
        let records = data.compactMap { CustomerRecord($0) }
        for record in records { add(.listed(record), to: Subject(app: call.app, id: record.id), of: call) }
        guard records.count == total else { return }
        let ids = Set(records.map(\.id))
        for (subject, operations) in bySubject where subject.app == call.app && !ids.contains(subject.id) {
            let wasThere = history.initial[subject] != nil || operations.contains { $0.start < call.returned }
            if wasThere { add(.unlisted, to: subject, of: call) }
        }
    }

    // MARK: - Past the service

    private mutating func addInvoices() {
        let removed = Set(history.invoices.filter { $0.kind == .remove && $0.outcome == .done }.map(\.invoice))
        for change in history.invoices {
            let isLeft = history.remainingInvoices.contains(change.invoice)
            let effect: Effect?
            switch (change.kind, change.outcome) {
            case (.add, .done): effect = .invoiceAdded
            case (.add, .unknown): effect = isLeft || removed.contains(change.invoice) ? .invoiceAdded : nil
            case (.remove, .done): effect = .invoiceRemoved
            case (.remove, .unknown): effect = isLeft ? nil : .invoiceRemoved
            case (.add, .refusedAsMissing): effect = .absent
            case (.add, .refusedAsArchived): effect = .invoiceRefusedAsArchived
            case (.remove, .refusedAsMissing), (.remove, .refusedAsArchived): effect = nil
            }
            guard let effect else { continue }
            let end = change.outcome == .unknown ? history.ended : change.returned
            let what = change.kind == .add ? "invoice added" : "invoice removed"
            bySubject[change.subject, default: []].append(
                TimedEffect(
                    call: nil, effect: effect, start: change.invoked, end: end,
                    summary: "\(change.invoked.seconds)–\(end.seconds) s  \(what) by SQL → \(change.outcome)"))
        }
    }

    private mutating func addRemains() {
        var invoices: [Subject: Set<String>] = [:]
        for change in history.invoices where history.remainingInvoices.contains(change.invoice) {
            invoices[change.subject, default: []].insert(change.invoice)
        }
        for subject in Set(bySubject.keys).union(history.remains.keys) {
            let effect: Effect
            let found: String
            if let left = history.remains[subject] {
                effect = .remains(
                    left.record, isArchived: left.isArchived, invoices: invoices[subject]?.count ?? 0)
                found = "\(left.isArchived ? "archived " : "")\(left.record.brief)"
            } else {
                effect = .nothingRemains
                found = "no such customer"
            }
            bySubject[subject, default: []].append(
                TimedEffect(
                    call: nil, effect: effect, start: history.ended, end: history.ended,
                    summary: "\(history.ended.seconds) s  in the end → \(found)"))
        }
    }
}
