import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#endif

/// The thread on which events are delivered: the connections to receivers, and the tasks that use them, so that an event goes
/// from step to step without a switch of threads.
///
/// Its priority is lower than that of requests: where processors are scarce, deliveries come later, and requests don't.
final class WebhookLoop: TaskExecutor {
    static let shared = WebhookLoop()

    #if canImport(Glibc)
        private static let niceness: Int32 = 10
    #endif

    let eventLoop: any EventLoop
    /// Kept, as it ends with the process.
    private let group: MultiThreadedEventLoopGroup

    private init() {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        eventLoop = group.next()
        #if canImport(Glibc)
            // On Linux that of the calling thread alone.
            eventLoop.execute { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Self.niceness) }
        #endif
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        eventLoop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
