public import Foundation

extension UUID {
    /// The identifier in lower case, the only form that leaves this service.
    public var text: String {
        uuidString.lowercased()
    }

    /// Reads the 8-4-4-4-12 form of RFC 9562 in any case, and nothing else.
    public init?(strict text: some StringProtocol) {
        // Foundation alone would take signs and blanks for digits.
        let isWellFormed = text.utf8.enumerated().allSatisfy { position, byte in
            [8, 13, 18, 23].contains(position) == (byte == UInt8(ascii: "-"))
                && (byte == UInt8(ascii: "-") || Character(UnicodeScalar(byte)).isHexDigit)
        }
        guard text.utf8.count == 36, isWellFormed, let value = UUID(uuidString: String(text)) else { return nil }
        self = value
    }

    /// The nil UUID: the app of those who never authenticated.
    public static let zero = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
}
