import Dispatch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Tells when a socket can be read or written.
///
/// It watches a duplicate of libpq's descriptor. libpq closes its own whenever it likes (at an error, or to try the
/// next host), and the number is used again at once; a source that still watched it would then take over the events
/// of a stranger's socket. The duplicate stays ours until the sources are gone.
///
/// Not `Sendable`: it belongs to the actor whose queue it delivers on.
final class SocketWatch {
    private let descriptor: Descriptor
    private let queue: DispatchQueue
    private let handler: @Sendable () -> Void
    private var readSource: (any DispatchSourceRead)?
    private var writeSource: (any DispatchSourceWrite)?

    /// - Parameter handler: runs on `queue` at every event.
    /// - Returns: nil if there is no descriptor left.
    init?(socket: Int32, queue: DispatchQueue, handler: @escaping @Sendable () -> Void) {
        guard let descriptor = Descriptor(duplicating: socket) else { return nil }
        self.descriptor = descriptor
        self.queue = queue
        self.handler = handler
    }

    deinit {
        cancel()
    }

    func watchReading() {
        guard readSource == nil else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor.number, queue: queue)
        source.setEventHandler(handler: handler)
        source.setCancelHandler { [descriptor] in withExtendedLifetime(descriptor) {} }
        source.activate()
        readSource = source
    }

    func watchWriting() {
        guard writeSource == nil else { return }
        let source = DispatchSource.makeWriteSource(fileDescriptor: descriptor.number, queue: queue)
        source.setEventHandler(handler: handler)
        source.setCancelHandler { [descriptor] in withExtendedLifetime(descriptor) {} }
        source.activate()
        writeSource = source
    }

    /// Whether the other side is gone for good. Dispatch tells of that once and watches no further, whatever is left
    /// to be read.
    var isHungUp: Bool {
        var query = pollfd(fd: descriptor.number, events: Int16(POLLIN), revents: 0)
        return poll(&query, 1, 0) > 0 && query.revents & Int16(POLLHUP | POLLERR) != 0
    }

    func stopWriting() {
        writeSource?.cancel()
        writeSource = nil
    }

    func cancel() {
        stopWriting()
        readSource?.cancel()
        readSource = nil
    }

    /// A descriptor that is closed when neither the watch nor one of its sources needs it any longer.
    private final class Descriptor: Sendable {
        let number: Int32

        init?(duplicating socket: Int32) {
            number = fcntl(socket, F_DUPFD_CLOEXEC, 0)
            guard number >= 0 else { return nil }
        }

        deinit {
            if number >= 0 { close(number) }
        }
    }
}
