import ChaosJudge
import Testing

@Suite("The judge")
struct JudgeTests {
    @Test(
        "finds what is wrong", arguments: Plant.effects + Plant.sights + Plant.answers + Plant.entries + Plant.privacy)
    func plants(plant: Plant) {
        var story = Story()
        plant.make(&story)

        #expect(story.kinds.contains(plant.kind), "\(Judge.verdict(on: story.history).violations)")
    }

    @Test("finds nothing wrong with a good history")
    func good() {
        var story = Story()
        let (first, second, third) = (story.customer(), story.customer(), story.create())
        story.list([first, second, third])
        let updated = story.update(first)
        let index = story.delete(updated)
        story.missing(.read(first.id))
        story.replay(index)
        let restored = story.restore(updated)
        story.addInvoice(to: restored)
        story.refuse(restored)
        story.bulkDelete([second, third], key: "bulk")
        let redacted = story.redact(restored)
        story.call(.read(first.id), 200, redacted.text)
        let archived = story.archive(redacted)
        story.list([])
        story.readTrail(of: archived)
        let fourth = story.archive(story.create())
        story.delete(fourth)
        _ = story.restore(fourth)
        story.list([])

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("lets a redaction that was repeated until it was done keep its reason")
    func reasonOfRedaction() {
        var story = Story()
        let customer = story.customer()
        let reason = Story.person(99)
        story.call(.redact(customer.id), 503, key: "k")
        story.record("FAILED", 503)
        _ = story.redact(customer)
        for index in story.history.calls.indices { story.history.calls[index].reason = reason }
        story.history.marks = [reason.mark]

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("lets a call without answer have happened or not, as the trail says", arguments: [true, false])
    func noAnswer(happened: Bool) {
        var story = Story()
        let customer = story.customer()
        let index = happened ? story.delete(customer) : story.call(.delete(customer.id), nil, key: "k")
        story.history.calls[index].answer = nil
        if !happened { story.record("INTERRUPTED", nil) }

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("lets a call without answer take effect as late as it likes")
    func lateEffect() {
        var story = Story()
        let customer = story.customer()
        let index = story.delete(customer)
        story.history.calls[index].answer = nil
        story.call(.read(customer.id), 200, customer.text)
        story.missing(.read(customer.id))

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("doesn't let it take effect after its answer was told to another")
    func effectAfterReplay() {
        var story = Story()
        let customer = story.customer()
        let index = story.delete(customer)
        story.replay(index)
        story.history.calls[index].answer = nil
        story.call(.read(customer.id), 200, customer.text)

        #expect(story.kinds == [.notLinearizable])
    }

    @Test("lets what overlaps happen in either order", arguments: [true, false])
    func overlap(readIsFirst: Bool) {
        var story = Story()
        let customer = story.customer()
        let deletion = story.delete(customer)
        let read = readIsFirst ? story.call(.read(customer.id), 200, customer.text) : story.missing(.read(customer.id))
        story.history.calls[read].invoked = story.history.calls[deletion].invoked + 1

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("lets a replay come without what was redacted")
    func redactedReplay() {
        var story = Story()
        let customer = story.customer()
        let index = story.delete(customer, key: "k")
        _ = story.redact(story.restore(customer))
        let replay = story.replay(index)
        story.history.calls[replay].answer?.body = customer.erased.text

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("lets a customer that a redaction met while it was deleted be restorable or not", arguments: [true, false])
    func redactionMeetsDeletion(isKept: Bool) {
        var story = Story()
        let customer = story.customer()
        let redacted = story.redact(customer)
        let deletion = story.delete(redacted)
        story.history.calls[deletion].invoked = story.history.calls[deletion - 1].invoked
        if isKept {
            _ = story.restore(redacted)
        } else {
            story.history.entries[1].beforeImage = nil
            let body = #"{"statusCode":409,"message":"Customer can no longer be restored","error":"Conflict"}"#
            story.call(.restore(customer.id), 409, body)
            story.record("CONFLICT", 409)
            story.history.calls[2].answer?.retryAfter = nil
        }

        #expect(Judge.verdict(on: story.history).violations == [])
    }

    @Test("lets who insists wait for 30 seconds after the last fault", arguments: [29, 31])
    func patience(seconds: Instant) {
        var story = Story()
        let customer = story.customer()
        let first = story.call(.delete(customer.id), 503, key: "k")
        let last = story.delete(customer, key: "k")
        for index in [first, last] { story.history.calls[index].pursuit = 1 }
        story.history.calls[last].returned = 40_000_000_000
        story.history.ended = 40_000_000_000
        story.history.faultsOver = [1, (40 - seconds) * 1_000_000_000]

        #expect(story.kinds == (seconds > 30 ? [.stuckKey] : []))
    }

    @Test("shows the shortest part of the history that is impossible")
    func explanation() throws {
        var story = Story()
        var customer = story.customer()
        for _ in 1...20 {
            customer = story.update(customer)
            story.call(.read(customer.id), 200, customer.text)
        }
        let deletion = story.delete(customer)
        story.call(.read(customer.id), 200, customer.text)
        for _ in 1...20 { story.missing(.read(customer.id)) }

        let violation = try #require(Judge.verdict(on: story.history).violations.first)
        #expect(violation.kind == .notLinearizable)
        let calls = story.history.calls
        #expect(violation.evidence.contains { $0.contains("#\(calls[deletion].id) ") })
        #expect(violation.evidence.last?.hasPrefix("but   #\(calls[deletion + 1].id) ") == true)
        #expect(!violation.evidence.contains { $0.contains("→ 404") })
        #expect(violation.evidence.count < 15)
    }

    @Test("says the same of the same history")
    func pure() {
        var story = Story()
        let customer = story.customer()
        story.delete(customer)
        story.delete(customer)

        let verdicts = (1...3).map { _ in Judge.verdict(on: story.history).violations.map(\.description).sorted() }
        #expect(Set(verdicts).count == 1)
        #expect(verdicts[0] != [])
    }
}
