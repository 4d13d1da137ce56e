import NIOConcurrencyHelpers

/// A value that is set once and that any number of tasks can wait for.
final class Once<Value: Sendable>: Sendable {
    private enum State {
        case pending([CheckedContinuation<Value, Never>])
        case settled(Value)
    }

    private let state = NIOLockedValueBox(State.pending([]))

    /// The value, nil while there is none.
    var current: Value? {
        state.withLockedValue { if case .settled(let value) = $0 { value } else { nil } }
    }

    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let settled: Value? = state.withLockedValue { state in
                    switch state {
                    case .pending(let waiting):
                        state = .pending(waiting + [continuation])
                        return nil
                    case .settled(let value):
                        return value
                    }
                }
                if let settled { continuation.resume(returning: settled) }
            }
        }
    }

    /// Sets the value; later calls are ignored.
    func set(_ value: Value) {
        let waiting: [CheckedContinuation<Value, Never>] = state.withLockedValue { state in
            guard case .pending(let waiting) = state else { return [] }
            state = .settled(value)
            return waiting
        }
        for continuation in waiting { continuation.resume(returning: value) }
    }
}
