import ChaosJudge
import TestSupport

/// One run from its seed to its verdict.
struct Run: Sendable {
    /// Where faults come from, and with them the end of the run.
    enum Place: Sendable, Hashable {
        /// From the seed, for some seconds, in a cluster of the run's own.
        case inside(seconds: Int)
        /// From whoever runs it, who breaks this server and tells of it: the URL of a superuser.
        case outside(server: String)

        fileprivate var server: String? { if case .outside(let server) = self { server } else { nil } }
    }

    let seed: UInt64
    let clients: Int
    let place: Place

    struct Outcome: Sendable {
        var history: History
        var verdict: Judge.Verdict
        var faults: [InjectedFault]
        /// What took how long.
        var phases: [(name: String, duration: Duration)]
        /// Warnings and errors that the instances logged.
        var log: String
    }

    /// - Parameter ready: is called when the clients are about to begin.
    func callAsFunction(ready: (Arena) -> Void = { _ in }) async throws -> Outcome {
        var clock = PhaseClock()
        let arena = try await Arena.open(seed: seed, on: place.server)
        clock.end("preparing")
        let recorder = Recorder()
        let course = course(in: arena, recorder)
        ready(arena)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<clients {
                let client = ChaosClient(number: number, seed: seed, arena: arena, recorder: recorder)
                group.addTask { await client.run(along: course) }
            }
            group.addTask { try await course.run() }
            try await group.waitForAll()
        }
        clock.end("running")

        let evidence = Evidence(arena.database)
        _ = try await evidence.settle(within: .seconds(60))
        var history = recorder.history
        history.initial = arena.initial
        let faults = course.faults
        history.faultsOver = faults.map(\.over)
        history.ended = recorder.now
        clock.end("settling")
        try await evidence.complete(&history)
        let problems = try await arena.close()
        clock.end("reading")

        var verdict = Judge.verdict(on: history)
        clock.end("judging")
        verdict.violations += problems.map { Violation(.instanceFailed, $0) }
        var log = ""
        for instance in arena.instances {
            verdict.violations += await instance.failures.map { Violation(.instanceFailed, $0) }
            log += await instance.log
        }
        return Outcome(history: history, verdict: verdict, faults: faults, phases: clock.phases, log: log)
    }

    private func course(in arena: Arena, _ recorder: Recorder) -> any Course {
        guard case .inside(let seconds) = place, let breakable = arena.breakable else {
            return ToldCourse(recorder: recorder)
        }
        return SeededCourse(arena: arena, breakable: breakable, recorder: recorder, seed: seed, seconds: seconds)
    }
}

/// Measures one phase after the other.
private struct PhaseClock {
    private(set) var phases: [(name: String, duration: Duration)] = []
    private var last = ContinuousClock.now

    /// Everything since the last phase was this one.
    mutating func end(_ name: String) {
        let now = ContinuousClock.now
        phases.append((name, now - last))
        last = now
    }
}
