import ChaosJudge

/// A history that a test makes up, consistent unless it is told otherwise: each call takes a second, one after the
/// other.
struct Story {
    static let app = "aaaaaaaa-0000-4000-8000-000000000001"

    var history = History()
    /// The ids of the customers that are archived, or were when they were deleted.
    private var archived: Set<String> = []
    private var clock: Instant = 0
    private var count = 0

    // MARK: - Customers

    private mutating func next() -> Int {
        count += 1
        return count
    }

    static func person(_ number: Int) -> PersonalData {
        let digits = String(number)
        return PersonalData(mark: "zq" + String(repeating: "0", count: 16 - digits.count) + digits)
    }

    static func time(_ number: Int) -> String {
        "2026-01-01T00:00:00.\(String(1_000_000 + number).dropFirst())Z"
    }

    private mutating func newID() -> String {
        let digits = String(next())
        return "cccccccc-0000-4000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// A customer from the start.
    mutating func customer() -> CustomerRecord {
        let id = newID()
        let record = Self.record(id, Self.person(count), at: Self.time(next()))
        history.initial[Self.subject(id)] = record
        history.remains[Self.subject(id)] = .init(record: record, isArchived: false)
        return record
    }

    static func subject(_ id: String) -> Subject { Subject(app: app, id: id) }

    private static func record(_ id: String, _ person: PersonalData, at time: String) -> CustomerRecord {
        CustomerRecord(
            id: id, app: app, firstName: person.firstName, lastName: person.lastName, email: person.email,
            phoneNumber: person.phoneNumber, createdAt: time, updatedAt: time)
    }

    // MARK: - Calls

    /// A call with its answer.
    ///
    /// - Returns: its place in the history.
    @discardableResult
    mutating func call(
        _ request: Request, _ status: Int?, _ body: String = "{}", key: String? = nil, isReplayed: Bool = false
    ) -> Int {
        let number = next()
        let answer = status.map {
            CallAnswer(status: $0, body: body, isReplayed: isReplayed, retryAfter: [409, 503].contains($0) ? 1 : nil)
        }
        history.calls.append(
            Call(
                id: number, client: 1, app: Self.app, instance: 0, request: request, requestID: "r\(number)",
                idempotencyKey: key, reason: nil, invoked: clock, returned: clock + 1_000_000_000, answer: answer,
                pursuit: nil))
        clock += 2_000_000_000
        history.ended = clock
        return history.calls.count - 1
    }

    /// The entry of the last call, and its receipt when it has one.
    mutating func record(
        _ outcome: String, _ status: Int?, action: String? = nil, customer: String? = nil, image: CustomerRecord? = nil,
        kept: String? = nil
    ) {
        guard let call = history.calls.last else { return }
        let seq = history.entries.count + 1
        history.entries.append(
            Entry(
                app: Self.app, seq: seq, id: "e\(seq)", action: action ?? call.request.action ?? "", outcome: outcome,
                status: status, customer: customer ?? call.request.customer, requestID: call.requestID,
                idempotencyKey: call.idempotencyKey, beforeImage: image.map(text)))
        if let kept { history.receipts["e\(seq)"] = StoredReceipt(outcome: outcome, body: kept, entrySeq: seq) }
        history.chain = .init(entries: seq, verified: seq, reason: nil)
    }

    /// The before-image of a customer.
    private func text(_ record: CustomerRecord) -> String {
        CustomerImage(record, isArchived: archived.contains(record.id)).text
    }

    /// A write that succeeds and is recorded.
    @discardableResult
    private mutating func write(
        _ request: Request, _ status: Int = 200, after: CustomerRecord, image: CustomerRecord?, key: String?
    ) -> Int {
        let index = call(request, status, after.text, key: key)
        record("SUCCEEDED", status, customer: after.id, image: image, kept: after.text)
        return index
    }

    mutating func create() -> CustomerRecord {
        let (id, person) = (newID(), Self.person(count + 1))
        let record = Self.record(id, person, at: Self.time(next()))
        write(.create(person), 201, after: record, image: nil, key: nil)
        history.remains[Self.subject(id)] = .init(record: record, isArchived: false)
        return record
    }

    @discardableResult
    mutating func delete(_ record: CustomerRecord, key: String? = nil) -> Int {
        let key = key ?? "k\(next())"
        let index = write(.delete(record.id), after: record, image: record, key: key)
        history.remains[Self.subject(record.id)] = nil
        return index
    }

    mutating func update(_ record: CustomerRecord, at time: String? = nil) -> CustomerRecord {
        let person = Self.person(next())
        var after = Self.record(record.id, person, at: time ?? Self.time(count))
        after.createdAt = record.createdAt
        write(.update(record.id, .init(person: person)), after: after, image: record, key: nil)
        history.remains[Self.subject(record.id)]?.record = after
        return after
    }

    mutating func archive(_ record: CustomerRecord) -> CustomerRecord {
        var after = record
        after.updatedAt = Self.time(next())
        write(.archive(record.id), after: after, image: record, key: nil)
        archived.insert(record.id)
        history.remains[Self.subject(record.id)] = .init(record: after, isArchived: true)
        return after
    }

    mutating func restore(_ record: CustomerRecord) -> CustomerRecord {
        var after = record
        after.updatedAt = Self.time(next())
        write(.restore(record.id), after: after, image: nil, key: nil)
        history.remains[Self.subject(record.id)] = .init(record: after, isArchived: archived.contains(record.id))
        return after
    }

    /// Erases a living customer, and what the trail and the receipts hold of it.
    mutating func redact(_ record: CustomerRecord) -> CustomerRecord {
        var after = record.erased
        after.updatedAt = Self.time(next())
        for index in history.entries.indices where history.entries[index].customer == record.id {
            history.entries[index].beforeImage = nil
            let id = history.entries[index].id
            guard let kept = history.receipts[id]?.body.flatMap({ CustomerRecord(text: $0) }) else { continue }
            history.receipts[id]?.body = kept.erased.text
        }
        write(.redact(record.id), after: after, image: nil, key: nil)
        history.remains[Self.subject(record.id)]?.record = after
        return after
    }

    @discardableResult
    mutating func missing(_ request: Request, key: String? = nil) -> Int {
        let body = #"{"statusCode":404,"message":"Customer not found","error":"Not Found"}"#
        let index = call(request, 404, body, key: key)
        if request.action != nil { record("NOT_FOUND", 404, kept: body) }
        return index
    }

    @discardableResult
    mutating func refuse(_ record: CustomerRecord) -> Int {
        let body = #"{"statusCode":400,"message":"Customer cannot be deleted.","error":"Bad Request"}"#
        let index = call(.delete(record.id), 400, body, key: "k\(next())")
        self.record("REFUSED", 400, image: record, kept: body)
        return index
    }

    /// The stored answer of an earlier call once more.
    @discardableResult
    mutating func replay(_ index: Int) -> Int {
        let first = history.calls[index]
        guard let answer = first.answer else { return index }
        let again = call(first.request, answer.status, answer.body, key: first.idempotencyKey, isReplayed: true)
        record("REPLAYED", answer.status)
        return again
    }

    mutating func addInvoice(to record: CustomerRecord) {
        let invoice = "i\(next())"
        history.invoices.append(
            InvoiceChange(
                subject: Self.subject(record.id), invoice: invoice, kind: .add, invoked: clock,
                returned: clock + 1_000_000_000, outcome: .done))
        history.remainingInvoices.insert(invoice)
        clock += 2_000_000_000
        history.ended = clock
    }

    /// A bulk deletion of living customers.
    @discardableResult
    mutating func bulkDelete(_ records: [CustomerRecord], key: String) -> Int {
        let results = records.map { #"{"id":"\#($0.id)","statusCode":200,"customer":\#($0.text)}"# }
        let body = #"{"results":[\#(results.joined(separator: ","))]}"#
        let index = call(.bulkDelete(records.map(\.id), isDryRun: false), 200, body, key: key)
        for record in records {
            self.record(
                "SUCCEEDED", 200, action: "customer.delete", customer: record.id, image: record, kept: record.text)
            history.remains[Self.subject(record.id)] = nil
        }
        record("SUCCEEDED", 200, kept: body)
        return index
    }

    /// A page of the trail about a customer, as it is now.
    @discardableResult
    mutating func readTrail(of record: CustomerRecord) -> Int {
        let rows = history.entries.filter { $0.customer == record.id }.reversed().map { entry in
            """
            {"seq":\(entry.seq),"id":"\(entry.id)","action":"\(entry.action)","outcome":"\(entry.outcome)",\
            "status_code":\(entry.status.map { String($0) } ?? "null")}
            """
        }
        return call(.trail(record.id), 200, #"{"data":[\#(rows.joined(separator: ","))],"next_cursor":null}"#)
    }

    @discardableResult
    mutating func list(_ records: [CustomerRecord]) -> Int {
        let data = records.map(\.text).joined(separator: ",")
        return call(.list, 200, #"{"data":[\#(data)],"total":\#(records.count),"skip":0,"take":100}"#)
    }

    /// What the judge finds.
    var kinds: Set<Violation.Kind> { Set(Judge.verdict(on: history).violations.map(\.kind)) }
}
