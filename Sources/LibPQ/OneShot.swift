import Dispatch
import NIOConcurrencyHelpers

/// A value that is set once and awaited once; the first call to set it wins.
package final class OneShot<Value: Sendable>: Sendable {
    private enum State {
        case empty
        case awaited(CheckedContinuation<Void, Never>)
        case set(Value)
    }

    private let state = NIOLockedValueBox(State.empty)

    package init() {}

    /// - Returns: false if the value had been set before.
    @discardableResult
    package func set(_ value: Value) -> Bool {
        let (isFirst, continuation) = state.withLockedValue { state -> (Bool, CheckedContinuation<Void, Never>?) in
            switch state {
            case .empty:
                state = .set(value)
                return (true, nil)
            case .awaited(let continuation):
                state = .set(value)
                return (true, continuation)
            case .set:
                return (false, nil)
            }
        }
        continuation?.resume()
        return isFirst
    }

    // The value goes through the lock, not through the continuation: ThreadSanitizer doesn't see the order that a
    // continuation establishes when it is resumed before its task has suspended.
    package var value: Value {
        get async {
            await withCheckedContinuation { continuation in
                let isSet = state.withLockedValue { state in
                    if case .set = state { return true }
                    state = .awaited(continuation)
                    return false
                }
                if isSet { continuation.resume() }
            }
            return state.withLockedValue { state in
                guard case .set(let value) = state else { preconditionFailure("woken without a value") }
                return value
            }
        }
    }
}

/// Runs blocking calls on a thread of their own: a serial queue without a target gets one.
///
/// Not on the global or the concurrent queues: on Linux their threads are the cooperative ones.
package enum BlockingWork {
    package static func start(_ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "libpq.blocking").async(execute: body)
    }

    package static func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        let result = OneShot<Value>()
        start { result.set(body()) }
        return await result.value
    }
}
