import NIOConcurrencyHelpers

/// A value that is set once and awaited once; the first to set it wins.
final class OneShot<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case awaited(CheckedContinuation<Value, Never>)
        case set(Value)
        case taken
    }

    private let state = NIOLockedValueBox(State.empty)

    /// - Returns: false if the value had been set before.
    @discardableResult
    func set(_ value: Value) -> Bool {
        let (isFirst, continuation) = state.withLockedValue { state -> (Bool, CheckedContinuation<Value, Never>?) in
            switch state {
            case .empty:
                state = .set(value)
                return (true, nil)
            case .awaited(let continuation):
                state = .taken
                return (true, continuation)
            case .set, .taken:
                return (false, nil)
            }
        }
        continuation?.resume(returning: value)
        return isFirst
    }

    var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let value = state.withLockedValue { state -> Value? in
                    guard case .set(let value) = state else {
                        state = .awaited(continuation)
                        return nil
                    }
                    state = .taken
                    return value
                }
                if let value { continuation.resume(returning: value) }
            }
        }
    }
}
