import LibPQ
import NIOConcurrencyHelpers
import TestSupport

/// Makes things go wrong, one after the other, as its generator tells it. Two of them are at work: one at the
/// instances, one at the database and the way there, so that faults meet.
final class Saboteur: Sendable {
    private let arena: Arena
    private let recorder: Recorder
    private let isOfInstances: Bool
    private let seed: UInt64
    private let done = NIOLockedValueBox<[Caused]>([])

    /// A fault that came.
    struct Caused: Sendable {
        var kind: ChaosFault.Kind
        var began: Int64
        var over: Int64
    }

    init(arena: Arena, recorder: Recorder, seed: UInt64, ofInstances: Bool) {
        self.arena = arena
        self.recorder = recorder
        self.seed = seed
        isOfInstances = ofInstances
    }

    /// What went wrong, and when.
    var faults: [Caused] { done.withLockedValue { $0 } }

    static func generator(seed: UInt64, ofInstances: Bool) -> SeededGenerator {
        SeededGenerator(seed: seed ^ (ofInstances ? 0xFA17_0001 : 0xFA17_0002))
    }

    /// Runs until the time is over; then everything works again.
    func run(until end: ContinuousClock.Instant) async throws {
        var generator = Self.generator(seed: seed, ofInstances: isOfInstances)
        while true {
            let fault = ChaosFault(using: &generator, ofInstance: isOfInstances)
            guard ContinuousClock.now + .milliseconds(fault.pause) < end else { return }
            try await Task.sleep(for: .milliseconds(fault.pause))
            let began = recorder.now
            try await cause(fault)
            done.withLockedValue { $0.append(Caused(kind: fault.kind, began: began, over: recorder.now)) }
        }
    }

    private func cause(_ fault: ChaosFault) async throws {
        let instance = arena.instances[fault.instance]
        let stay = Duration.milliseconds(fault.duration)
        switch fault.kind {
        case .killInstance:
            await instance.kill()
            try await Task.sleep(for: stay)
            try await instance.start()
        case .restartInstance:
            await instance.terminate()
            try await instance.start()
        case .terminateBackends:
            // Sessions of ours that an earlier fault has ended are no reason to stop.
            _ = try? await arena.database.rows(
                """
                SELECT pg_terminate_backend(pid)
                FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'customerd_service' AND pid % 3 = $1
                """,
                [.int(fault.remainder)])
        case .stopDatabase:
            let cluster = arena.cluster
            try await aside { try cluster.stop(mode: "immediate") }
            try await Task.sleep(for: stay)
            try await aside { try cluster.start() }
        case .cutGate:
            arena.gate.cut()
        case .refuseGate:
            arena.gate.refuse()
            arena.gate.cut()
            try await Task.sleep(for: stay)
            arena.gate.release()
        case .stallReplies, .stallRequests:
            if fault.kind == .stallReplies { arena.gate.holdReplies() } else { arena.gate.holdRequests() }
            try await Task.sleep(for: stay)
            arena.gate.release()
        }
    }
}
