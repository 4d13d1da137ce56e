public import NIOCore

/// An IPv4 or IPv6 address, read and written by NIO. An IPv4-mapped IPv6 address is the IPv4 address (RFC 4291, section
/// 2.5.5.2).
public struct IPAddress: Hashable, Sendable {
    /// 4 or 16 bytes, network order.
    public let bytes: [UInt8]

    /// Reads an address alone.
    public init?(literal text: String) {
        // NIO asks the resolver about scoped addresses, and a zone has a meaning on its own host alone.
        guard !text.utf8.contains(UInt8(ascii: "%")) else { return nil }
        guard let address = try? SocketAddress(ipAddress: text, port: 0) else { return nil }
        self.init(address)
    }

    /// Reads an address as proxies write it: with or without brackets, port and zone.
    public init?(_ text: some StringProtocol) {
        var text = text.trimmed[...]
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            text = text[text.index(after: text.startIndex)..<end]
        } else if text.utf8.count(where: { $0 == UInt8(ascii: ":") }) == 1 {
            text = text.prefix { $0 != ":" }
        }
        self.init(literal: String(text.prefix { $0 != "%" }))
    }

    /// The address of a socket's end, nil for a Unix socket.
    public init?(_ address: SocketAddress) {
        // By their places: the compiler takes these structures' members for those of a module that NIO keeps to itself.
        let (place, length): (Int, Int)
        switch address {
        case .v4: (place, length) = (4, 4)
        case .v6: (place, length) = (8, 16)
        case .unixDomainSocket: return nil
        }
        let all = address.withSockAddr { structure, size in
            Array(UnsafeRawBufferPointer(start: structure, count: size)[place..<place + length])
        }
        let isMapped =
            length == 16 && all.prefix(10).allSatisfy { $0 == 0 } && all[10...11].elementsEqual([0xff, 0xff])
        bytes = isMapped ? Array(all.suffix(4)) : all
    }

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// This machine, where every client of a Unix socket is.
    public static let loopback = IPAddress(bytes: [127, 0, 0, 1])

    /// The canonical text (RFC 5952).
    public var text: String {
        // NIO knows every address of 4 or 16 bytes.
        (try? SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0))?.ipAddress ?? ""
    }

    /// What is counted as one client: the address, for IPv6 its /64.
    ///
    /// Source: RFC 6177, a site has at least a /64.
    public var site: String {
        bytes.count == 4 ? text : IPAddress(bytes: bytes.prefix(8) + Array(repeating: 0, count: 8)).text + "/64"
    }
}
