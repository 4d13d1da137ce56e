import ChaosJudge
import Testing

/// Each call of a story takes a second, and the next one begins a second later.
@Suite("What a fault cost")
struct ChaosOutageTests {
    /// Two deletions, a fault during which three requests fail, a deletion.
    private func story() -> Story {
        var story = Story()
        let customers = (0..<3).map { _ in story.customer() }
        story.delete(customers[0])
        story.delete(customers[1])
        story.call(.delete(customers[2].id), 503, key: "k")
        story.call(.read(customers[2].id), 503)
        story.call(.delete(customers[2].id), nil, key: "k")
        story.delete(customers[2], key: "k")
        return story
    }

    private let fault = InjectedFault(name: "a fault", began: 3_500_000_000, over: 9_500_000_000)

    private func outage(_ history: History) -> Outage {
        Outage(of: fault, until: history.ended, in: history)
    }

    @Test("counts what ended since it began, by what came back")
    func counts() {
        let outage = outage(story().history)

        #expect(outage.requests == 4)
        #expect(outage.unavailable == 2)
        #expect(outage.unanswered == 1)
    }

    @Test("measures from the last write that was answered to the next")
    func withoutService() {
        // Answered after 1, 3 and 11 seconds.
        #expect(outage(story().history).withoutService == 8_000_000_000)
    }

    @Test("measures to the next fault when no write is answered before it")
    func withoutServiceUntilTheNext() {
        var story = story()
        story.history.calls.removeLast()

        #expect(outage(story.history).withoutService == story.history.ended - 3_000_000_000)
    }

    @Test("takes no answered read for service")
    func reads() {
        var story = story()
        story.history.calls[3].answer?.status = 200

        #expect(outage(story.history).withoutService == 8_000_000_000)
    }

    @Test("measures how long a client insisted")
    func longestWait() {
        var story = story()
        for index in [2, 4, 5] { story.history.calls[index].pursuit = 1 }

        // Asked from 4 to 11 seconds.
        #expect(outage(story.history).longestWait == 7_000_000_000)
    }

    @Test("counts answered writes without an entry as lost")
    func lostEntries() {
        var story = story()
        #expect(outage(story.history).lostEntries == 0)

        story.history.entries.removeLast()
        #expect(outage(story.history).lostEntries == 1)
    }

    @Test("gives each request to one fault")
    func all() {
        let history = story().history
        let later = InjectedFault(name: "a later one", began: 6_500_000_000, over: 7_500_000_000)

        let outages = Outage.all([fault, later], in: history)

        #expect(outages.map(\.fault) == ["a fault", "a later one"])
        #expect(outages.map(\.requests) == [1, 3])
    }
}
