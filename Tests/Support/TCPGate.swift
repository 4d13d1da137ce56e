import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A proxy on 127.0.0.1 before a server's Unix socket that can hold back or cut what passes.
///
/// `@unchecked Sendable`: everything that changes is behind `condition`.
public final class TCPGate: @unchecked Sendable {
    /// Something that the gate is going to see.
    public struct Sighting: Sendable {
        fileprivate let stream: AsyncStream<Void>

        /// Returns once it has been seen.
        public func wait() async {
            for await _ in stream { return }
        }
    }

    private struct Trap {
        var text: [UInt8]
        var holdsRequests: Bool
        var continuation: AsyncStream<Void>.Continuation
    }

    public let port: Int
    private let listener: LoopbackListener
    private let upstream: String
    private let condition = NSCondition()
    private var holdsRequests = false
    private var holdsReplies = false
    private var refuses = false
    private var traps: [Trap] = []
    private var open: [ObjectIdentifier: Pair] = [:]
    private var accepted = 0

    /// - Parameter socketPath: the server's Unix socket.
    public init(before socketPath: String) throws {
        listener = try LoopbackListener()
        port = listener.port
        upstream = socketPath
        Thread.detachNewThread { [self] in acceptForEver() }
    }

    /// How many connections have been made through the gate.
    public var connectionCount: Int {
        condition.withLock { accepted }
    }

    /// Keeps back what the server says, from now on.
    public func holdReplies() {
        condition.withLock { holdsReplies = true }
    }

    /// Keeps back what the client says, from now on.
    public func holdRequests() {
        condition.withLock { holdsRequests = true }
    }

    /// Lets a request with this text pass, and holds the replies from that moment.
    public func holdReplies(whenRequestContains text: String) -> Sighting {
        trap(text, holdsRequests: false)
    }

    /// Holds the request with this text, so that the server never sees it.
    public func holdRequests(whenRequestContains text: String) -> Sighting {
        trap(text, holdsRequests: true)
    }

    /// Lets everything pass again.
    public func release() {
        condition.withLock {
            holdsRequests = false
            holdsReplies = false
            refuses = false
            condition.broadcast()
        }
    }

    /// Cuts all connections that are open; what was held back is lost.
    public func cut() {
        condition.withLock {
            for pair in open.values {
                pair.isCut = true
                shutdown(pair.client, Int32(SHUT_RDWR))
                shutdown(pair.server, Int32(SHUT_RDWR))
            }
            condition.broadcast()
        }
    }

    /// Closes every new connection, from now on.
    public func refuse() {
        condition.withLock { refuses = true }
    }

    private func trap(_ text: String, holdsRequests: Bool) -> Sighting {
        let (stream, continuation) = AsyncStream<Void>.makeStream()
        condition.withLock {
            traps.append(Trap(text: Array(text.utf8), holdsRequests: holdsRequests, continuation: continuation))
        }
        return Sighting(stream: stream)
    }

    private func acceptForEver() {
        while true {
            let client = accept(listener.descriptor, nil, nil)
            guard client >= 0 else { return }
            guard !condition.withLock({ refuses }), let server = connectUpstream() else {
                close(client)
                continue
            }
            let pair = Pair(client: client, server: server)
            condition.withLock {
                open[ObjectIdentifier(pair)] = pair
                accepted += 1
            }
            Thread.detachNewThread { [self] in pump(pair, isRequest: true) }
            Thread.detachNewThread { [self] in pump(pair, isRequest: false) }
        }
    }

    private func connectUpstream() -> Int32? {
        #if canImport(Glibc)
            let stream = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        #else
            let stream = SOCK_STREAM
        #endif
        let server = socket(AF_UNIX, stream, 0)
        guard server >= 0 else { return nil }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: upstream.utf8.prefix($0.count - 1)) }
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isConnected else {
            close(server)
            return nil
        }
        return server
    }

    /// Both directions of one connection; its descriptors are closed when both have ended.
    private final class Pair: @unchecked Sendable {
        let client: Int32
        let server: Int32
        // Both behind the gate's `condition`.
        var ended = 0
        var isCut = false

        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }
    }

    private func pump(_ pair: Pair, isRequest: Bool) {
        let source = isRequest ? pair.client : pair.server
        let target = isRequest ? pair.server : pair.client
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(source, &buffer, buffer.count)
            guard count > 0 else { break }
            guard pass(buffer[..<count], isRequest: isRequest, to: target, of: pair) else { break }
        }
        shutdown(pair.client, Int32(SHUT_RDWR))
        shutdown(pair.server, Int32(SHUT_RDWR))
        condition.withLock {
            pair.ended += 1
            condition.broadcast()
            guard pair.ended == 2 else { return }
            open[ObjectIdentifier(pair)] = nil
            close(pair.client)
            close(pair.server)
        }
    }

    private func pass(_ bytes: ArraySlice<UInt8>, isRequest: Bool, to target: Int32, of pair: Pair) -> Bool {
        let isCut = condition.withLock {
            if isRequest { spring(bytes) }
            while isRequest ? holdsRequests : holdsReplies {
                if pair.isCut || pair.ended > 0 { return true }
                condition.wait()
            }
            return false
        }
        guard !isCut else { return false }
        var rest = bytes
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(target, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    private func spring(_ bytes: ArraySlice<UInt8>) {
        for (index, trap) in traps.enumerated().reversed() where contains(bytes, trap.text) {
            if trap.holdsRequests { holdsRequests = true } else { holdsReplies = true }
            trap.continuation.yield()
            traps.remove(at: index)
        }
    }

    private func contains(_ bytes: ArraySlice<UInt8>, _ text: [UInt8]) -> Bool {
        Data(bytes).range(of: Data(text)) != nil
    }
}
