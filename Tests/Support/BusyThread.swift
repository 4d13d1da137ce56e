import Dispatch
public import Testing

/// A thread for tests that compute for minutes without a pause. On the cooperative threads, of which there are as many as
/// processors, two of them would keep all other tests from running, and from noticing what they wait for.
private final class BusyThread: TaskExecutor {
    static let shared = BusyThread()

    private let queue = DispatchQueue(label: "busy tests")

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}

/// See ``Testing/Trait/busy``.
public struct BusyTrait: TestTrait, SuiteTrait, TestScoping {
    public var isRecursive: Bool { true }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(BusyThread.shared) { try await function() }
    }
}

extension Trait where Self == BusyTrait {
    /// For a test that computes for long: it runs on a thread of its own, one such test at a time.
    public static var busy: BusyTrait { BusyTrait() }
}
