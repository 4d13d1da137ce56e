import Dispatch

/// Runs what blocks on a thread of its own: a serial queue without a target gets one.
///
/// The global and the concurrent queues are no place for it: on Linux their threads are the cooperative ones.
enum BlockingWork {
    static func start(_ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "libpq.blocking").async(execute: body)
    }

    static func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        let result = OneShot<Value>()
        start { result.set(body()) }
        return await result.value
    }
}
