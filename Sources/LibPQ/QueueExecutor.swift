import Dispatch

/// Runs an actor's jobs on a serial dispatch queue, where its dispatch sources deliver their events, too.
///
/// So a socket's event reaches the actor without a hop.
final class QueueExecutor: SerialExecutor {
    let queue: DispatchQueue

    /// All queues share the few threads of a priority that Swift's tasks don't use. A queue that is left to itself
    /// gets a thread of its own whenever it wakes, up to 255 of them.
    init(label: String) {
        queue = DispatchQueue(label: label, target: .global(qos: .userInteractive))
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async {
            job.runSynchronously(on: self.asUnownedSerialExecutor())
        }
    }

    func checkIsolated() {
        dispatchPrecondition(condition: .onQueue(queue))
    }
}
