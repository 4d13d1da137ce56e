import ChaosJudge
import Foundation
import NIOConcurrencyHelpers

/// How long clients go on, and what goes wrong meanwhile.
protocol Course: Sendable {
    /// Whether clients are to end.
    var isOver: Bool { get }
    /// What has gone wrong, in order.
    var faults: [InjectedFault] { get }
    /// Returns once everything that went wrong is over.
    func run() async throws
}

/// Faults that the seed decides, for some time.
struct SeededCourse: Course {
    private let end: ContinuousClock.Instant
    private let saboteurs: [Saboteur]

    init(arena: Arena, breakable: Arena.Breakable, recorder: Recorder, seed: UInt64, seconds: Int) {
        end = .now + .seconds(seconds)
        saboteurs = [true, false].map {
            Saboteur(arena: arena, breakable: breakable, recorder: recorder, seed: seed, ofInstances: $0)
        }
    }

    var isOver: Bool { ContinuousClock.now >= end }
    var faults: [InjectedFault] { saboteurs.flatMap(\.faults).sorted { $0.began < $1.began } }

    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for saboteur in saboteurs { group.addTask { [end] in try await saboteur.run(until: end) } }
            try await group.waitForAll()
        }
    }
}

/// Faults that whoever runs this causes, and tells of on standard input: `began NAME` and `over NAME`, a line each. The end of
/// the input ends the run.
final class ToldCourse: Course {
    private struct State {
        var faults: [InjectedFault] = []
        var isOver = false
    }

    private let recorder: Recorder
    private let state = NIOLockedValueBox(State())

    init(recorder: Recorder) {
        self.recorder = recorder
    }

    var isOver: Bool { state.withLockedValue { $0.isOver } }
    var faults: [InjectedFault] { state.withLockedValue { $0.faults } }

    func run() async throws {
        let (lines, continuation) = AsyncStream<String>.makeStream()
        Thread.detachNewThread {
            while let line = readLine() { continuation.yield(line) }
            continuation.finish()
        }
        for await line in lines { note(line, at: recorder.now) }
        state.withLockedValue { $0.isOver = true }
    }

    /// What else is said is of no consequence here.
    private func note(_ line: String, at now: Instant) {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        guard words.count == 2 else { return }
        state.withLockedValue { state in
            if words[0] == "began" { state.faults.append(InjectedFault(name: words[1], began: now, over: now)) }
            guard words[0] == "over", let index = state.faults.lastIndex(where: { $0.name == words[1] }) else { return }
            state.faults[index].over = now
        }
    }
}
