// Foundation for the whole module, without its internationalization where the two are separate, as on Linux: that part
// would be half of the program.
#if canImport(FoundationEssentials)
    @_exported import FoundationEssentials
#else
    @_exported import Foundation
#endif

// The text form of identifiers. Foundation reads and writes it by `sscanf` and `snprintf`, which cost more than most of
// the rest of a request.
extension UUID {
    /// The 8-4-4-4-12 form of RFC 9562 in lower case, as PostgreSQL writes it.
    package var hexadecimal: String {
        withUnsafeBytes(of: uuid) { bytes in
            String(unsafeUninitializedCapacity: 36) { text in
                var length = 0
                for (position, byte) in bytes.enumerated() {
                    if [4, 6, 8, 10].contains(position) {
                        text[length] = UInt8(ascii: "-")
                        length += 1
                    }
                    text[length] = Self.character(byte >> 4)
                    text[length + 1] = Self.character(byte & 0xf)
                    length += 2
                }
                return length
            }
        }
    }

    /// Reads the 8-4-4-4-12 form in either case, and nothing else; Foundation also accepts signs and blanks as digits.
    package init?(hexadecimal text: String) {
        var text = text
        var value: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        let isWellFormed = withUnsafeMutableBytes(of: &value) { bytes in
            text.withUTF8 { text in
                guard text.count == 36 else { return false }
                var digits = 0
                for (position, character) in text.enumerated() {
                    switch position {
                    case 8, 13, 18, 23:
                        guard character == UInt8(ascii: "-") else { return false }
                    default:
                        guard let digit = character.hexadecimalDigit else { return false }
                        bytes[digits / 2] = bytes[digits / 2] << 4 | digit
                        digits += 1
                    }
                }
                return true
            }
        }
        guard isWellFormed else { return nil }
        self.init(uuid: value)
    }

    private static func character(_ digit: UInt8) -> UInt8 {
        digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
    }
}

extension UInt8 {
    /// The value of an ASCII character as a hexadecimal digit, in either case; nil if it isn't one.
    package var hexadecimalDigit: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
