#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Tells when a socket can be read or written.
///
/// It watches a duplicate of libpq's descriptor. libpq closes its own whenever it likes (at an error, or to try the
/// next host), and the number is used again at once; who still watched it would take a stranger's events for his own.
///
/// Not `Sendable`: it belongs to whoever runs on the reactor, or to one task.
final class SocketWatch {
    private let descriptor: Int32
    private let reactor: Reactor
    private let handler: Reactor.SocketHandler
    private var reading: Reactor.Registration?
    private var writing: Reactor.Registration?

    /// - Parameter handler: runs on the reactor, with the events of `poll` that are there.
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

    /// Whether events say that the other side is gone for good, though something may be left to be read.
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
