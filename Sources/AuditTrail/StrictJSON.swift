/// Reads JSON objects whose members are strings, whole numbers and null, as the lines of an export are, or objects of
/// these, as in a certificate.
///
/// By hand, because Foundation's reader takes one of two members of the same name and rewrites numbers: what the hash
/// doesn't cover could then be read from a line.
///
/// Source: RFC 8259.
struct StrictJSON {
    enum Value: Sendable, Hashable {
        case null
        /// Digits, perhaps with a minus before; it fits into 64 bits.
        case number(String)
        case string(String)
        case object([String: Value])
    }

    private let bytes: [UInt8]
    private var index = 0
    /// How deep objects may still be nested.
    private var depth: Int

    /// The members of an object, in order; every name once.
    ///
    /// - Parameter depth: how deep objects may be nested in it.
    static func members(
        of line: [UInt8], depth: Int = 0
    ) throws(ExportLine.Malformed) -> [(name: String, value: Value)] {
        var reader = StrictJSON(bytes: line, depth: depth)
        let members = try reader.object()
        reader.skipSpace()
        guard reader.index == line.count else { throw reader.malformed("text after the object") }
        return members
    }

    private init(bytes: [UInt8], depth: Int) {
        self.bytes = bytes
        self.depth = depth
    }

    private mutating func object() throws(ExportLine.Malformed) -> [(name: String, value: Value)] {
        var members: [(name: String, value: Value)] = []
        var names: Set<String> = []
        try expect("{")
        if !take("}") {
            repeat {
                skipSpace()
                let name = try string()
                guard names.insert(name).inserted else { throw malformed("\(name) occurs twice") }
                try expect(":")
                members.append((name, try value()))
            } while take(",")
            try expect("}")
        }
        return members
    }

    private mutating func value() throws(ExportLine.Malformed) -> Value {
        skipSpace()
        switch peek {
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "n"):
            guard bytes[index...].starts(with: "null".utf8) else { throw malformed("expected null") }
            index += 4
            return .null
        case UInt8(ascii: "{") where depth > 0:
            depth -= 1
            defer { depth += 1 }
            return .object(Dictionary(uniqueKeysWithValues: try object().map { ($0.name, $0.value) }))
        default: return .number(try number())
        }
    }

    private mutating func number() throws(ExportLine.Malformed) -> String {
        let start = index
        if peek == UInt8(ascii: "-") { index += 1 }
        let digits = index
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { index += 1 }
        let isWhole = index > digits && (bytes[digits] != UInt8(ascii: "0") || index == digits + 1 && digits == start)
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        guard isWhole, Int(text) != nil else { throw malformed("expected a string, a whole number or null") }
        return text
    }

    private mutating func string() throws(ExportLine.Malformed) -> String {
        guard take("\"") else { throw malformed("expected a string") }
        var text: [UInt8] = []
        while true {
            let run = plainRun()
            text += bytes[run]
            index = run.upperBound + 1
            guard run.upperBound < bytes.count else { throw malformed("unterminated string") }
            switch bytes[run.upperBound] {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw malformed("invalid UTF-8") }
                return string
            case UInt8(ascii: "\\"): text += try escaped().utf8
            default: throw malformed("a control character in a string")
            }
        }
    }

    /// The bytes before the next quote, backslash or control character.
    private func plainRun() -> Range<Int> {
        bytes.withUnsafeBufferPointer { bytes in
            var end = index
            while end < bytes.count, bytes[end] >= 0x20, bytes[end] != 0x22, bytes[end] != 0x5C { end += 1 }
            return index..<end
        }
    }

    private mutating func escaped() throws(ExportLine.Malformed) -> String {
        guard let byte = peek else { throw malformed("unterminated string") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return String(UnicodeScalar(byte))
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            var units = [try codeUnit()]
            if UTF16.isLeadSurrogate(units[0]), bytes[index...].starts(with: "\\u".utf8) {
                index += 2
                units.append(try codeUnit())
            }
            guard let text = String(validating: units, as: UTF16.self) else { throw malformed("a lone surrogate") }
            return text
        default: throw malformed("an unknown escape")
        }
    }

    private mutating func codeUnit() throws(ExportLine.Malformed) -> UInt16 {
        let digits = bytes[index...].prefix(4)
        guard digits.count == 4, digits.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }),
            let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw malformed("\\u needs four hexadecimal digits") }
        index += 4
        return unit
    }

    // MARK: - Bytes

    private var peek: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func skipSpace() {
        while let byte = peek, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { index += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard peek == UInt8(ascii: character) else { return false }
        index += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(ExportLine.Malformed) {
        guard take(character) else { throw malformed("expected \(character)") }
    }

    private func malformed(_ reason: String) -> ExportLine.Malformed {
        ExportLine.Malformed(reason: "\(reason), at byte \(index + 1)")
    }
}
