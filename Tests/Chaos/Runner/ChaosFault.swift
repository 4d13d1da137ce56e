import TestSupport

/// Something that goes wrong, and for how long.
struct ChaosFault: Sendable, Hashable {
    enum Kind: String, CaseIterable, Sendable {
        case killInstance = "instance killed"
        case restartInstance = "instance restarted by SIGTERM"
        case terminateBackends = "sessions terminated"
        case stopDatabase = "database stopped at once"
        case cutGate = "connections cut"
        case refuseGate = "connections refused"
        case stallReplies = "replies stalled"
        case stallRequests = "requests stalled"

        /// Whether it hits an instance; the others hit the database and the connections to it.
        var isOfInstance: Bool { [.killInstance, .restartInstance].contains(self) }

        fileprivate var weight: Int {
            switch self {
            case .killInstance: 3
            case .restartInstance: 1
            case .terminateBackends: 4
            case .stopDatabase: 2
            case .cutGate: 3
            case .refuseGate: 1
            case .stallReplies, .stallRequests: 2
            }
        }
    }

    var kind: Kind
    /// The instance that it hits.
    var instance: Int
    /// Until it comes, in milliseconds.
    var pause: Int
    /// How long it stays, in milliseconds.
    var duration: Int
    /// Which sessions: those whose process id leaves this remainder when divided by three.
    var remainder: Int

    /// - Parameter ofInstance: whether it is to hit an instance, or the database and the connections to it.
    init(using generator: inout SeededGenerator, ofInstance: Bool) {
        let kinds = Kind.allCases.filter { $0.isOfInstance == ofInstance }.flatMap {
            Array(repeating: $0, count: $0.weight)
        }
        kind = kinds[Int.random(in: kinds.indices, using: &generator)]
        instance = Int.random(in: 0...1, using: &generator)
        pause = Int.random(in: ofInstance ? 800...3000 : 300...2000, using: &generator)
        duration =
            Int.random(in: 0..<4, using: &generator) == 0
            ? Int.random(in: 1000...3000, using: &generator) : Int.random(in: 20...600, using: &generator)
        remainder = Int.random(in: 0...2, using: &generator)
    }
}
