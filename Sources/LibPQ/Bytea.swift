/// The text formats of `bytea`.
///
/// Source: PostgreSQL manual, "Binary Data Types".
enum Bytea {
    static func decode(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        text.starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "x")]) ? decodeHex(text.dropFirst(2)) : decodeEscape(text)
    }

    private static func decodeHex(_ digits: Slice<UnsafeBufferPointer<UInt8>>) -> [UInt8]? {
        guard digits.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(digits.count / 2)
        var index = digits.startIndex
        while index < digits.endIndex {
            guard let high = hexValue(digits[index]), let low = hexValue(digits[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
            index += 2
        }
        return bytes
    }

    private static func decodeEscape(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        let backslash = UInt8(ascii: "\\")
        var bytes: [UInt8] = []
        var index = 0
        while index < text.count {
            if text[index] != backslash {
                bytes.append(text[index])
                index += 1
            } else if index + 1 < text.count, text[index + 1] == backslash {
                bytes.append(backslash)
                index += 2
            } else {
                guard index + 3 < text.count else { return nil }
                let digits = text[(index + 1)...(index + 3)]
                guard digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }) else { return nil }
                let value = digits.reduce(0) { $0 << 3 | Int($1 - UInt8(ascii: "0")) }
                guard let byte = UInt8(exactly: value) else { return nil }
                bytes.append(byte)
                index += 4
            }
        }
        return bytes
    }

    private static func hexValue(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
