import NIOConcurrencyHelpers
import Testing

@testable import LibPQ

@Suite("Reactor")
struct ReactorTests {
    @Test("alarms go off in the order of their times, whatever the order in which they were set")
    func order() async {
        let rung = NIOLockedValueBox<[Int]>([])
        let done = OneShot<Void>()
        let start = ContinuousClock.now
        for number in [3, 1, 4, 0, 2] {
            _ = Reactor.shared.alarm(at: start + .milliseconds(number * 10)) {
                rung.withLockedValue { $0.append(number) }
                if number == 4 { done.set(()) }
            }
        }

        await done.value

        #expect(rung.withLockedValue { $0 } == [0, 1, 2, 3, 4])
        #expect(ContinuousClock.now - start >= .milliseconds(40), "none was early")
    }

    @Test("what runs apart isn't canceled with its caller, and what it throws arrives")
    func apart() async {
        let caller = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            let wasCanceled = await Reactor.shared.apart { () async -> Bool in Task.isCancelled }
            return [Task.isCancelled, wasCanceled]
        }
        #expect(await caller.value == [true, false])

        await #expect(throws: DatabaseError.deadlineExceeded) {
            try await Reactor.shared.apart { () async throws(DatabaseError) -> Void in throw .deadlineExceeded }
        }
    }

    @Test("of 1,000 alarms that are removed again and one that isn't, only the one goes off")
    func removal() async {
        let rung = NIOLockedValueBox(0)
        let done = OneShot<Void>()
        let start = ContinuousClock.now
        for number in 0..<1_000 {
            let alarm = Reactor.shared.alarm(at: start + .milliseconds(20 + number % 7)) {
                rung.withLockedValue { $0 += 1 }
            }
            Reactor.shared.remove(alarm)
        }
        _ = Reactor.shared.alarm(at: start + .milliseconds(40)) { done.set(()) }

        await done.value

        #expect(rung.withLockedValue { $0 } == 0)
    }
}
