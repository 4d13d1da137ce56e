import NIOConcurrencyHelpers

/// So many may do something at one time; the others wait for their turn.
public final class Slots: Sendable {
    /// Suites that have a service running: few, so that the machine keeps up.
    public static let services = Slots(count: 4)

    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: NIOLockedValueBox<State>

    public init(count: Int) {
        state = NIOLockedValueBox(State(free: count))
    }

    public func take() async {
        await withCheckedContinuation { continuation in
            let mayGo = state.withLockedValue { state in
                guard state.free == 0 else {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if mayGo { continuation.resume() }
        }
    }

    public func giveBack() {
        let next: CheckedContinuation<Void, Never>? = state.withLockedValue { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            state.free += 1
            return nil
        }
        next?.resume()
    }
}
