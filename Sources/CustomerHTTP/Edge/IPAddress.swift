import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address is the IPv4 address (RFC 4291, section 2.5.5.2).
struct IPAddress: Hashable, Sendable {
    /// 4 or 16 bytes, network order.
    let bytes: [UInt8]

    /// Reads an address as proxies and sockets write it: with or without brackets, port and zone.
    init?(_ text: some StringProtocol) {
        var text = String(text).trimmingPrefix { $0 == " " || $0 == "\t" }[...]
        while text.last == " " || text.last == "\t" { text = text.dropLast() }
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            text = text[text.index(after: text.startIndex)..<end]
        } else if text.filter({ $0 == ":" }).count == 1 {
            text = text.prefix { $0 != ":" }
        }
        text = text.prefix { $0 != "%" }

        var four = in_addr()
        var six = in6_addr()
        if inet_pton(AF_INET, String(text), &four) == 1 {
            self.init(four)
        } else if inet_pton(AF_INET6, String(text), &six) == 1 {
            self.init(six)
        } else {
            return nil
        }
    }

    /// The address of a socket's end, nil for a Unix socket.
    init?(_ address: SocketAddress) {
        // By their places: the compiler takes these structures' members for those of a module that NIO keeps to itself.
        let (sinAddr, sin6Addr) = (4, 8)
        let parts: IPAddress? = address.withSockAddr { structure, size in
            let all = UnsafeRawBufferPointer(start: structure, count: size)
            return switch address {
            case .v4: IPAddress(all.loadUnaligned(fromByteOffset: sinAddr, as: in_addr.self))
            case .v6: IPAddress(all.loadUnaligned(fromByteOffset: sin6Addr, as: in6_addr.self))
            case .unixDomainSocket: nil
            }
        }
        guard let parts else { return nil }
        self = parts
    }

    private init(_ address: in_addr) {
        bytes = withUnsafeBytes(of: address) { Array($0) }
    }

    private init(_ address: in6_addr) {
        bytes = withUnsafeBytes(of: address) { all in
            let isMapped = all.prefix(10).allSatisfy { $0 == 0 } && all[10] == 0xff && all[11] == 0xff
            return Array(isMapped ? all.suffix(4) : all[...])
        }
    }

    /// This machine, where whoever comes by a Unix socket is.
    static let loopback = IPAddress(in_addr(s_addr: UInt32(0x7f00_0001).bigEndian))

    /// The canonical text (RFC 5952).
    var text: String {
        let family = bytes.count == 4 ? AF_INET : AF_INET6
        var buffer = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        inet_ntop(family, bytes, &buffer, socklen_t(buffer.count))
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
