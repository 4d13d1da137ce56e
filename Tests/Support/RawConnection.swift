import Foundation
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A connection over which a test sends whatever bytes it likes.
///
/// What blocks has a thread of its own: libdispatch has few, and libpq's connections live on them.
public final class RawConnection: Sendable {
    /// What came.
    public enum Reply: Sendable, Hashable {
        case answer(HTTPAnswer)
        /// The other side hung up without another answer.
        case closed
        /// Nothing came in time.
        case silent

        public var answer: HTTPAnswer? {
            if case .answer(let answer) = self { answer } else { nil }
        }
    }

    private let descriptor: Int32
    private let received = NIOLockedValueBox<[UInt8]>([])

    public init(port: Int) throws {
        descriptor = try Self.connect(port: port)
    }

    private static func connect(port: Int) throws -> Int32 {
        #if canImport(Glibc)
            let stream = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        #else
            let stream = SOCK_STREAM
        #endif
        let descriptor = socket(AF_INET, stream, 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                #if canImport(Glibc)
                    Glibc.connect(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                #else
                    Darwin.connect(descriptor, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                #endif
            }
        }
        guard isConnected else {
            let code = POSIXErrorCode(rawValue: errno) ?? .ECONNREFUSED
            _ = Self.closed(descriptor)
            throw POSIXError(code)
        }
        return descriptor
    }

    private static func closed(_ descriptor: Int32) -> Int32 {
        #if canImport(Glibc)
            Glibc.close(descriptor)
        #else
            Darwin.close(descriptor)
        #endif
    }

    deinit {
        _ = Self.closed(descriptor)
    }

    /// Hands the socket to what does more to it than send and receive.
    func withDescriptor<Value>(_ body: (Int32) throws -> Value) rethrows -> Value {
        try withExtendedLifetime(self) { try body(descriptor) }
    }

    /// Sends text as UTF-8.
    public func send(_ text: String) async {
        await send(Array(text.utf8))
    }

    /// Sends bytes; an end that has hung up is no error, for it may have answered before.
    public func send(_ bytes: [UInt8]) async {
        let descriptor = descriptor
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var rest = bytes[...]
                while !rest.isEmpty {
                    let sent = rest.withUnsafeBytes {
                        Self.send(descriptor, $0)
                    }
                    guard sent > 0 else { break }
                    rest = rest.dropFirst(sent)
                }
                continuation.resume()
            }
        }
    }

    /// Says that nothing more will be sent.
    public func finish() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// The next answer.
    ///
    /// - Parameters:
    ///   - toHead: whether the request was a HEAD, whose answer has no body.
    ///   - interim: whether `100 Continue` counts as an answer.
    public func reply(
        within limit: Duration = .seconds(20), toHead: Bool = false, interim: Bool = false
    ) async -> Reply {
        let deadline = ContinuousClock.now + limit
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread { [self] in
                continuation.resume(returning: read(until: deadline, toHead: toHead, interim: interim))
            }
        }
    }

    private func read(until deadline: ContinuousClock.Instant, toHead: Bool, interim: Bool) -> Reply {
        var hasEnded = false
        while true {
            let parsed = received.withLockedValue { bytes in
                let parsed = HTTPAnswer.parse(bytes, hasEnded: hasEnded, toHead: toHead)
                if let parsed { bytes.removeFirst(parsed.length) }
                return parsed?.answer
            }
            if let parsed {
                // 100 Continue comes before the answer.
                if parsed.status / 100 == 1, !interim { continue }
                return .answer(parsed)
            }
            if hasEnded { return .closed }
            let remaining = ContinuousClock.now.duration(to: deadline)
            guard remaining > .zero else { return .silent }
            var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wanted, 1, 50) > 0 else { continue }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            if count > 0 {
                received.withLockedValue { $0 += chunk.prefix(count) }
            } else {
                hasEnded = true
            }
        }
    }

    static func send(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, flags: Int32 = 0) -> Int {
        #if canImport(Glibc)
            return Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | flags)
        #else
            return Darwin.send(descriptor, bytes.baseAddress, bytes.count, flags)
        #endif
    }
}

extension HTTPAnswer {
    /// Reads one answer from the beginning of what was received.
    ///
    /// - Returns: nil while it isn't whole.
    ///
    /// Source: RFC 9112, section 6.3.
    static func parse(_ bytes: [UInt8], hasEnded: Bool, toHead: Bool) -> (answer: HTTPAnswer, length: Int)? {
        let separator = Array("\r\n\r\n".utf8)
        guard let end = bytes.firstIndex(of: separator) else { return nil }
        var lines = String(decoding: bytes[..<end], as: UTF8.self).split(
            separator: "\r\n", omittingEmptySubsequences: false)
        guard let status = lines.removeFirst().split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            return nil
        }
        let headers = lines.map { line in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count > 1 ? parts[1] : ""
            return Field(name: String(parts[0]), value: String(value.trimmingPrefix { $0 == " " }))
        }
        var answer = HTTPAnswer(status: status, headers: headers, body: "")
        let start = end + separator.count
        if toHead || status / 100 == 1 || status == 204 || status == 304 { return (answer, start) }
        if let length = answer["content-length"].flatMap({ Int($0) }) {
            guard bytes.count >= start + length else { return nil }
            answer.body = String(decoding: bytes[start..<(start + length)], as: UTF8.self)
            return (answer, start + length)
        }
        if answer["transfer-encoding"] == "chunked" {
            guard let (body, length) = unchunk(bytes[start...]) else { return nil }
            answer.body = body
            return (answer, start + length)
        }
        guard hasEnded else { return nil }
        answer.body = String(decoding: bytes[start...], as: UTF8.self)
        return (answer, bytes.count)
    }

    private static func unchunk(_ bytes: ArraySlice<UInt8>) -> (body: String, length: Int)? {
        var body: [UInt8] = []
        var rest = bytes
        while let end = rest.firstIndex(of: [13, 10]) {
            guard let size = Int(String(decoding: rest[rest.startIndex..<end], as: UTF8.self), radix: 16) else {
                return nil
            }
            guard rest.endIndex >= end + 2 + size + 2 else { return nil }
            body += rest[(end + 2)..<(end + 2 + size)]
            rest = rest[(end + 2 + size + 2)...]
            if size == 0 { return (String(decoding: body, as: UTF8.self), rest.startIndex - bytes.startIndex) }
        }
        return nil
    }
}

extension RandomAccessCollection where Element == UInt8, Index == Int {
    fileprivate func firstIndex(of pattern: [UInt8]) -> Int? {
        guard count >= pattern.count else { return nil }
        return (startIndex...(endIndex - pattern.count)).first { self[$0...].starts(with: pattern) }
    }
}
