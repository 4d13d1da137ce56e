import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

// What a session waits for, on top of the reactor: its socket and its deadline.

/// Reports when a socket can be read or written.
///
/// It watches a duplicate of libpq's descriptor. libpq closes its own at any time (after an error, or to try the next
/// host), and the number is reused immediately; a watch on it would then report the events of another socket.
///
/// Not `Sendable`: it belongs to an actor that runs on the reactor, or to one task.
final class SocketWatch {
    private let descriptor: Int32
    private let reactor: Reactor
    private let handler: Reactor.SocketHandler
    private var reading: Reactor.Registration?
    private var writing: Reactor.Registration?

    /// - Parameter handler: runs on the reactor, with the events that `poll` reported.
    /// - Returns: nil if there is no descriptor left.
    init?(socket: Int32, reactor: Reactor = .shared, handler: @escaping Reactor.SocketHandler) {
        descriptor = fcntl(socket, F_DUPFD_CLOEXEC, 0)
        self.reactor = reactor
        self.handler = handler
        guard descriptor >= 0 else { return nil }
    }

    deinit {
        cancel()
        if descriptor >= 0 { close(descriptor) }
    }

    func watchReading() {
        reading = reading ?? reactor.watch(descriptor, for: POLLIN, handler)
    }

    func watchWriting() {
        writing = writing ?? reactor.watch(descriptor, for: POLLOUT, handler)
    }

    /// Whether the events say that the other side has closed the socket. There may be data left to read.
    static func isHangUp(_ events: Int16) -> Bool {
        events & Int16(POLLHUP | POLLERR) != 0
    }

    func stopWriting() {
        if let writing { reactor.remove(writing) }
        writing = nil
    }

    func cancel() {
        stopWriting()
        if let reading { reactor.remove(reading) }
        reading = nil
    }
}

/// One timer for many deadlines, which are set and removed far more often than they pass.
///
/// Arming it for a later instant than it is set to does nothing, so that the common request costs nothing. The handler
/// may therefore run early: it checks what is due, and arms the timer again for what isn't.
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

    /// Records that the timer has fired, so that it can be armed again.
    func fired() {
        arming.withLockedValue { $0 = nil }
    }
}
