import Dispatch

/// One timer for many deadlines, which come and go far more often than they pass.
///
/// Arming it for a later instant than it is set to does nothing, so the usual request costs no system call. The
/// handler may therefore run early: it looks at what is due, and arms the timer again for what isn't.
///
/// `@unchecked Sendable`: callers serialise their calls, by an actor or a lock.
final class DeadlineTimer: @unchecked Sendable {
    private let source: any DispatchSourceTimer
    private var armedFor: ContinuousClock.Instant?

    /// - Parameter handler: runs on `queue`; it calls ``fired()`` first.
    init(queue: DispatchQueue, handler: @escaping @Sendable () -> Void) {
        source = DispatchSource.makeTimerSource(queue: queue)
        source.setEventHandler(handler: handler)
        source.schedule(deadline: .distantFuture)
        source.activate()
    }

    deinit {
        source.cancel()
    }

    func arm(for instant: ContinuousClock.Instant) {
        if let armedFor, armedFor <= instant { return }
        armedFor = instant
        source.schedule(deadline: .now() + .nanoseconds(ContinuousClock.now.duration(to: instant).boundedNanoseconds))
    }

    /// Takes note that the timer has run out, so that it can be armed again.
    func fired() {
        armedFor = nil
    }
}

extension Duration {
    /// The duration in nanoseconds, not below zero and not above an hour.
    var boundedNanoseconds: Int {
        let bounded = min(max(self, .zero), .seconds(3600))
        return Int(bounded / .nanoseconds(1))
    }
}
