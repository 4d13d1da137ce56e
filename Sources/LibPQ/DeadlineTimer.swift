import NIOConcurrencyHelpers

/// One timer for many deadlines, which come and go far more often than they pass.
///
/// Arming it for a later instant than it is set to does nothing, so the usual request costs nothing. The handler may
/// therefore run early: it looks at what is due, and arms the timer again for what isn't.
final class DeadlineTimer: Sendable {
    private struct Arming {
        let instant: ContinuousClock.Instant
        let alarm: Reactor.Registration
    }

    private let reactor: Reactor
    private let handler: Reactor.Handler
    private let arming = NIOLockedValueBox<Arming?>(nil)

    /// - Parameter handler: runs on the reactor; it calls ``fired()`` first.
    init(reactor: Reactor = .shared, handler: @escaping Reactor.Handler) {
        self.reactor = reactor
        self.handler = handler
    }

    deinit {
        if let alarm = arming.withLockedValue({ $0?.alarm }) { reactor.remove(alarm) }
    }

    func arm(for instant: ContinuousClock.Instant) {
        arming.withLockedValue { arming in
            if let armed = arming {
                guard instant < armed.instant else { return }
                reactor.remove(armed.alarm)
            }
            arming = Arming(instant: instant, alarm: reactor.alarm(at: instant, handler))
        }
    }

    /// Takes note that the timer has run out, so that it can be armed again.
    func fired() {
        arming.withLockedValue { $0 = nil }
    }
}
