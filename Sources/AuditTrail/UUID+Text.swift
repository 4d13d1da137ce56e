import LibPQ

extension UUID {
    /// The identifier in lower case, the only form that leaves this service.
    public var text: String {
        hexadecimal
    }

    /// Reads the 8-4-4-4-12 form of RFC 9562 in any case, and nothing else.
    public init?(strict text: some StringProtocol) {
        self.init(hexadecimal: String(text))
    }

    /// A new identifier, of version 4 (RFC 9562, section 5.4), from the system's generator (getrandom).
    ///
    /// Not Foundation's `UUID()`: on Linux that opens /dev/urandom, and if no descriptor is left it makes the same
    /// identifier again and again, 00000000-0000-4000-8000-000000000000.
    public static func random() -> UUID {
        var generator = SystemRandomNumberGenerator()
        let bits = (generator.next() as UInt64, generator.next() as UInt64)
        var bytes = withUnsafeBytes(of: bits) { $0.loadUnaligned(as: uuid_t.self) }
        bytes.6 = bytes.6 & 0x0f | 0x40
        bytes.8 = bytes.8 & 0x3f | 0x80
        return UUID(uuid: bytes)
    }

    /// A new identifier, of version 7 (RFC 9562, section 5.7): for rows that come in order of time and are found by their
    /// identifiers, since neighbours in an index share pages, and so the images of pages in PostgreSQL's log.
    ///
    /// Its time is this machine's, in milliseconds since 1970; nothing reads it, and 74 bits are random, so a clock that is
    /// wrong or steps back does no harm.
    public static func timeOrdered() -> UUID {
        let milliseconds = UInt64(max(0, Date().timeIntervalSince1970 * 1000))
        var bytes = random().uuid
        withUnsafeMutableBytes(of: &bytes) { bytes in
            withUnsafeBytes(of: (milliseconds << 16).bigEndian) { bytes.copyBytes(from: $0.prefix(6)) }
        }
        bytes.6 = bytes.6 & 0x0f | 0x70
        return UUID(uuid: bytes)
    }

    /// The nil UUID: the app of unauthenticated attempts.
    public static let zero = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
}
