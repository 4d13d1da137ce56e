import Dispatch

/// Runs an actor's jobs on a serial dispatch queue, where its dispatch sources deliver their events, too.
///
/// So a socket's event reaches the actor without a hop, and nothing that libpq does (name lookups block) can hold
/// up a cooperative thread.
final class QueueExecutor: SerialExecutor {
    let queue: DispatchQueue

    init(label: String) {
        queue = DispatchQueue(label: label)
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
