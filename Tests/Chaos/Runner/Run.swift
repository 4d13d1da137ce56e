import ChaosJudge
import TestSupport

/// One run from its seed to its verdict.
struct Run: Sendable {
    let seed: UInt64
    let seconds: Int
    let clients: Int

    struct Outcome: Sendable {
        var history: History
        var verdict: Judge.Verdict
        var faults: [Saboteur.Caused]
        /// What took how long.
        var phases: [(name: String, duration: Duration)]
        /// Warnings and errors that the instances logged.
        var log: String
    }

    func callAsFunction() async throws -> Outcome {
        var clock = PhaseClock()
        let arena = try await Arena.open(seed: seed)
        clock.end("preparing")
        let recorder = Recorder()
        let end = ContinuousClock.now + .seconds(seconds)
        let saboteurs = [true, false].map {
            Saboteur(arena: arena, recorder: recorder, seed: seed, ofInstances: $0)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<clients {
                let client = ChaosClient(number: number, seed: seed, arena: arena, recorder: recorder)
                group.addTask { await client.run(until: end) }
            }
            for saboteur in saboteurs { group.addTask { try await saboteur.run(until: end) } }
            try await group.waitForAll()
        }

        clock.end("running")

        let evidence = Evidence(arena.database)
        _ = try await evidence.settle(within: .seconds(60))
        var history = recorder.history
        history.initial = arena.initial
        let faults = saboteurs.flatMap(\.faults).sorted { $0.began < $1.began }
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
