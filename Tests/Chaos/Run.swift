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
        var faults: [(at: Instant, kind: Fault.Kind)]
        /// Warnings and errors that the instances logged.
        var log: String
    }

    func callAsFunction() async throws -> Outcome {
        let arena = try await Arena.open(seed: seed)
        let recorder = Recorder()
        let end = ContinuousClock.now + .seconds(seconds)
        let saboteurs = [true, false].map {
            Saboteur(arena: arena, recorder: recorder, seed: seed, ofInstances: $0)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<clients {
                let client = Client(number: number, seed: seed, arena: arena, recorder: recorder)
                group.addTask { await client.run(until: end) }
            }
            for saboteur in saboteurs { group.addTask { try await saboteur.run(until: end) } }
            try await group.waitForAll()
        }

        let evidence = Evidence(arena.database)
        _ = try await evidence.settle(within: .seconds(60))
        var history = recorder.history
        history.initial = arena.initial
        history.ended = recorder.now
        try await evidence.complete(&history)
        await arena.close()

        var verdict = Judge.verdict(on: history)
        var log = ""
        for instance in arena.instances {
            verdict.violations += await instance.failures.map { Violation(.instanceFailed, $0) }
            log += await instance.log
        }
        let faults = saboteurs.flatMap(\.faults).sorted { $0.at < $1.at }
        return Outcome(history: history, verdict: verdict, faults: faults, log: log)
    }
}
