import ChaosJudge
import LibPQ
import NIOConcurrencyHelpers
import TestSupport

/// Makes things go wrong, one after the other, as its generator tells it. Two of them are at work: one at the
/// instances, one at the database and the way there, so that faults meet.
final class Saboteur: Sendable {
    private let instances: [Instance]
    private let database: TestDatabase
    private let breakable: Arena.Breakable
    private let recorder: Recorder
    private let isOfInstances: Bool
    private let seed: UInt64
    private let done = NIOLockedValueBox<[InjectedFault]>([])

    init(arena: Arena, breakable: Arena.Breakable, recorder: Recorder, seed: UInt64, ofInstances: Bool) {
        instances = arena.instances
        database = arena.database
        self.breakable = breakable
        self.recorder = recorder
        self.seed = seed
        isOfInstances = ofInstances
    }

    /// What went wrong, and when.
    var faults: [InjectedFault] { done.withLockedValue { $0 } }

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
            let caused = InjectedFault(name: fault.kind.rawValue, began: began, over: recorder.now)
            done.withLockedValue { $0.append(caused) }
        }
    }

    private func cause(_ fault: ChaosFault) async throws {
        let instance = instances[fault.instance]
        let gate = breakable.gate
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
            _ = try? await database.rows(
                """
                SELECT pg_terminate_backend(pid)
                FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'customerd_service' AND pid % 3 = $1
                """,
                [.int(fault.remainder)])
        case .stopDatabase:
            let cluster = breakable.cluster
            try await aside { try cluster.stop(mode: "immediate") }
            try await Task.sleep(for: stay)
            try await aside { try cluster.start() }
        case .cutGate:
            gate.cut()
        case .refuseGate:
            gate.refuse()
            gate.cut()
            try await Task.sleep(for: stay)
            gate.release()
        case .stallReplies, .stallRequests:
            if fault.kind == .stallReplies { gate.holdReplies() } else { gate.holdRequests() }
            try await Task.sleep(for: stay)
            gate.release()
        }
    }
}
