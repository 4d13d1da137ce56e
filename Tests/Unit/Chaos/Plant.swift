import ChaosJudge
import Testing

/// Something wrong in a history, and what the judge has to call it.
struct Plant: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var kind: Violation.Kind
    var make: @Sendable (inout Story) -> Void

    init(_ description: String, _ kind: Violation.Kind, _ make: @escaping @Sendable (inout Story) -> Void) {
        testDescription = description
        self.kind = kind
        self.make = make
    }

    static let effects = [
        Plant("a customer is gone without a deletion", .lostDeletion) { story in
            let customer = story.customer()
            story.history.remains[Story.subject(customer.id)] = nil
        },
        Plant("a deletion was answered, and the customer is there", .notLinearizable) { story in
            let customer = story.customer()
            story.delete(customer)
            story.history.remains[Story.subject(customer.id)] = .init(record: customer, isArchived: false)
        },
        Plant("a customer is deleted twice", .notLinearizable) { story in
            let customer = story.customer()
            story.delete(customer)
            story.delete(customer)
        },
        Plant("one key is carried out twice", .doubleEffect) { story in
            let customer = story.customer()
            story.delete(customer, key: "k")
            let restored = story.restore(customer)
            story.delete(restored, key: "k")
        },
        Plant("a bulk request deletes one customer twice", .doubleEffect) { story in
            let customer = story.customer()
            story.bulkDelete([customer], key: "k")
            let again = story.restore(customer)
            story.call(.bulkDelete([customer.id], isDryRun: false), 503, key: "k")
            story.record(
                "SUCCEEDED", 200, action: "customer.delete", customer: customer.id, image: again, kept: again.text)
            story.history.remains[Story.subject(customer.id)] = nil
        },
        Plant("a refusal without anything that refers to the customer", .notLinearizable) { story in
            let customer = story.customer()
            story.refuse(customer)
        },
        Plant("a deletion though an invoice refers to the customer", .notLinearizable) { story in
            let customer = story.customer()
            story.addInvoice(to: customer)
            story.delete(customer)
        },
        Plant("a restoration from an older image", .notLinearizable) { story in
            let customer = story.customer()
            story.delete(customer)
            let restored = story.restore(customer)
            let updated = story.update(restored)
            story.delete(updated)
            _ = story.restore(customer)
        },
        Plant("a restoration that forgets that the customer was archived", .notLinearizable) { story in
            let archived = story.archive(story.customer())
            story.delete(archived)
            story.history.remains[Story.subject(story.restore(archived).id)]?.isArchived = false
        },
        Plant("an update that is lost", .notLinearizable) { story in
            let customer = story.customer()
            _ = story.update(customer)
            story.history.remains[Story.subject(customer.id)]?.record = customer
        },
        Plant("an update that goes back in time", .notLinearizable) { story in
            let customer = story.customer()
            _ = story.update(customer, at: "2025-12-31T23:59:59Z")
        },
        Plant("a redaction that leaves the row as it was", .notLinearizable) { story in
            let customer = story.customer()
            _ = story.redact(customer)
            story.history.remains[Story.subject(customer.id)]?.record = customer
        },
    ]

    static let sights = [
        Plant("a read shows who is deleted", .notLinearizable) { story in
            let customer = story.customer()
            story.delete(customer)
            story.call(.read(customer.id), 200, customer.text)
        },
        Plant("a read shows what was before an update", .notLinearizable) { story in
            let customer = story.customer()
            _ = story.update(customer)
            story.call(.read(customer.id), 200, customer.text)
        },
        Plant("a read doesn't find who is there", .notLinearizable) { story in
            story.missing(.read(story.customer().id))
        },
        Plant("a list lacks who is there", .notLinearizable) { story in
            _ = story.customer()
            story.list([])
        },
        Plant("a list shows who is archived", .notLinearizable) { story in
            let customer = story.customer()
            story.list([story.archive(customer)])
        },
        Plant("a check doesn't count an invoice", .notLinearizable) { story in
            let customer = story.customer()
            story.addInvoice(to: customer)
            story.call(
                .check(customer.id), 200, #"{"customer":\#(customer.text),"deletable":true,"blockers":[]}"#)
        },
        Plant("a reader of the trail misses what was answered before", .staleTrail) { story in
            let customer = story.customer()
            let index = story.readTrail(of: customer)
            story.delete(customer)
            let reading = story.history.calls[index]
            story.call(reading.request, 200, reading.answer?.body ?? "")
        },
        Plant("a reader of the trail sees what isn't there", .staleTrail) { story in
            let customer = story.customer()
            story.delete(customer)
            story.readTrail(of: customer)
            story.history.entries[0].outcome = "NOT_FOUND"
        },
    ]

    static let answers = [
        Plant("a replay says something else", .changedReplay) { story in
            let customer = story.customer()
            let index = story.replay(story.delete(customer))
            story.history.calls[index].answer?.body = customer.text.replacing("ACTIVE", with: "BLACKLISTED")
        },
        Plant("a replay has another status", .changedReplay) { story in
            let customer = story.customer()
            let index = story.replay(story.delete(customer))
            story.history.calls[index].answer?.status = 404
        },
        Plant("a replay of what never was", .changedReplay) { story in
            let index = story.replay(story.missing(.delete("x"), key: "k"))
            story.history.calls.remove(at: index - 1)
            story.history.entries.remove(at: 0)
        },
        Plant("what is kept isn't what was answered", .changedReplay) { story in
            let customer = story.customer()
            story.delete(customer)
            story.history.receipts["e1"]?.body = customer.text.replacing("ACTIVE", with: "BLACKLISTED")
        },
        Plant("an answer that guesses", .guess) { story in
            let customer = story.customer()
            let index = story.delete(customer)
            story.history.calls[index].answer = CallAnswer(status: 404, body: "{}")
        },
        Plant("a bulk request that guesses", .guess) { story in
            let customers = [story.customer(), story.customer()]
            let index = story.bulkDelete(customers, key: "k")
            let body = story.history.calls[index].answer?.body.replacing(":200,", with: ":404,")
            story.history.calls[index].answer?.body = body ?? ""
        },
        Plant("an answer that says the service failed", .unexpectedAnswer) { story in
            story.call(.archive(story.customer().id), 500)
            story.record("FAILED", 500)
        },
        Plant("a 503 without Retry-After", .unexpectedAnswer) { story in
            let index = story.call(.archive(story.customer().id), 503)
            story.history.calls[index].answer?.retryAfter = nil
        },
        Plant("a client that insists for 31 seconds", .stuckKey) { story in
            let customer = story.customer()
            let index = story.call(.delete(customer.id), 503, key: "k")
            story.history.calls[index].pursuit = 1
            let last = story.delete(customer, key: "k")
            story.history.calls[last].pursuit = 1
            story.history.calls[last].returned = story.history.calls[index].invoked + 31_000_000_000
            story.history.ended = story.history.calls[last].returned
        },
    ]

    static let entries = [
        Plant("an answer without entry", .missingEntry) { story in
            story.missing(.delete("x"), key: "k")
            story.history.entries = []
            story.history.chain = .init(entries: 0, verified: 0, reason: nil)
        },
        Plant("a customer of a bulk request without entry", .missingEntry) { story in
            let customers = [story.customer(), story.customer()]
            story.bulkDelete(customers, key: "k")
            story.history.entries.remove(at: 1)
        },
        Plant("an entry without a call", .surplusEntry) { story in
            let customer = story.customer()
            story.delete(customer)
            story.history.calls = []
        },
        Plant("two entries for one call", .surplusEntry) { story in
            story.missing(.delete("x"), key: "k")
            story.record("NOT_FOUND", 404)
        },
        Plant("an entry about another customer", .wrongEntry) { story in
            story.missing(.delete("x"), key: "k")
            story.history.entries[0].customer = "y"
        },
        Plant("an entry without its before-image", .wrongEntry) { story in
            let customer = story.customer()
            story.delete(customer)
            story.history.entries[0].beforeImage = nil
        },
        Plant("an entry with another before-image", .wrongEntry) { story in
            let customer = story.customer()
            let other = story.customer()
            story.delete(customer)
            story.history.entries[0].beforeImage = other.text
        },
        Plant("a before-image that forgets that the customer was archived", .notLinearizable) { story in
            let archived = story.archive(story.customer())
            story.delete(archived)
            story.history.entries[1].beforeImage = archived.text
        },
        Plant("a before-image whose further columns have no values", .wrongEntry) { story in
            let customer = story.customer()
            story.delete(customer)
            story.history.entries[0].beforeImage = customer.text.dropLast() + #","columns":{"archived_at":null}}"#
        },
        Plant("a receipt without entry", .unfinishedAttempt) { story in
            let customer = story.customer()
            story.delete(customer)
            story.history.receipts["e1"]?.entrySeq = nil
        },
        Plant("an attempt without end", .unfinishedAttempt) { story in
            story.history.receipts["e9"] = StoredReceipt(outcome: nil, body: nil, entrySeq: nil)
        },
        Plant("entries in another order than that of time", .wrongOrder) { story in
            story.missing(.delete("x"), key: "k")
            story.missing(.delete("y"), key: "l")
            story.history.entries[0].seq = 2
            story.history.entries[1].seq = 1
        },
        Plant("a gap in the chain", .brokenChain) { story in
            story.missing(.delete("x"), key: "k")
            story.history.entries[0].seq = 2
        },
        Plant("a chain that doesn't verify", .brokenChain) { story in
            story.missing(.delete("x"), key: "k")
            story.history.chain.reason = "changed"
        },
    ]

    static let privacy = [
        Plant("personal data in a dump after the redaction", .personalData) { story in
            let updated = story.update(story.customer())
            _ = story.redact(updated)
            story.history.marks = [updated.phoneNumber]
        },
        Plant("the reason of an earlier attempt in a dump after the redaction", .personalData) { story in
            let updated = story.update(story.customer())
            let reason = Story.person(99)
            story.history.calls[story.history.calls.count - 1].reason = reason
            _ = story.redact(updated)
            story.history.marks = [reason.mark]
        },
        Plant("a before-image that outlives the redaction", .personalData) { story in
            let customer = story.customer()
            let updated = story.update(customer)
            _ = story.redact(updated)
            story.history.entries[0].beforeImage = customer.text
        },
        Plant("a replay that brings back what was redacted", .personalData) { story in
            let customer = story.customer()
            let index = story.delete(customer, key: "k")
            _ = story.redact(story.restore(customer))
            story.replay(index)
        },
    ]
}
