import Foundation
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Many connections to a port of this machine that behave as badly as a test wants.
///
/// What blocks has a thread of its own.
public final class Swarm: Sendable {
    private let port: Int
    private let members = NIOLockedValueBox<[RawConnection]>([])

    /// - Parameter port: where they connect to.
    public init(port: Int) {
        self.port = port
    }

    /// Whether this process may have so many connections, after its soft limit was raised to the hard one.
    public static func mayHave(_ count: Int) -> Bool {
        #if canImport(Glibc)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return false }
        var raised = rlimit(rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max)
        _ = setrlimit(resource, &raised)
        return limit.rlim_max >= rlim_t(count + 1000)
    }

    /// Opens connections.
    ///
    /// - Parameter greeting: what each sends at once.
    public func grow(by count: Int, greeting: String = "") async throws {
        try await aside { [self] in
            for _ in 0..<count {
                let member = try RawConnection(port: port)
                member.push(greeting.utf8)
                members.withLockedValue { $0.append(member) }
            }
        }
    }

    /// Sends the same over every connection; what a socket doesn't take is dropped.
    ///
    /// - Returns: how many connections took all of it.
    @discardableResult
    public func send(_ text: String) async throws -> Int {
        try await aside { [self] in
            let bytes = text.utf8
            return members.withLockedValue { $0 }.count { $0.push(bytes) == bytes.count }
        }
    }

    /// How many connections the other side has left open. Reads, and forgets, what it has sent.
    public var openCount: Int {
        get async throws {
            try await aside { [self] in members.withLockedValue { $0 }.count { !$0.hasEnded } }
        }
    }

    /// Closes all of them.
    public func disperse() {
        members.withLockedValue { $0 = [] }
    }
}

extension RawConnection {
    /// Sends what the socket takes without waiting.
    ///
    /// - Returns: how many bytes that was.
    @discardableResult
    fileprivate func push(_ bytes: String.UTF8View) -> Int {
        guard !bytes.isEmpty else { return 0 }
        return withDescriptor { descriptor in
            Array(bytes).withUnsafeBytes { Self.send(descriptor, $0, flags: Int32(MSG_DONTWAIT)) }
        }
    }

    /// Whether the other side has hung up. What it had sent before is forgotten.
    fileprivate var hasEnded: Bool {
        withDescriptor { descriptor in
            var buffer = [UInt8](repeating: 0, count: 4096)
            var count = 1
            while count > 0 { count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT)) }
            return count == 0 || errno != EAGAIN
        }
    }
}
