/// A JSON value whose members keep their order, and the one encoder of this project.
///
/// `raw` carries text that the database rendered, byte for byte: a record is never re-encoded, so no digit of a
/// `numeric` is lost. Source: RFC 8259.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    case int(Int)
    case string(String)
    /// Text that already is JSON.
    case raw(String)
    case array([JSON])
    case object([Member])

    public struct Member: Sendable, Hashable {
        public let name: String
        public let value: JSON

        public init(name: String, value: JSON) {
            self.name = name
            self.value = value
        }
    }

    /// The value in one line, without white space.
    public var text: String {
        var output: [UInt8] = []
        output.reserveCapacity(512)
        write(to: &output)
        return String(decoding: output, as: UTF8.self)
    }

    private func write(to output: inout [UInt8]) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .int(let value): output += String(value).utf8
        case .string(let value): Self.write(value, to: &output)
        case .raw(let text): output += text.utf8
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            output.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ string: String, to output: inout [UInt8]) {
        var string = string
        output.append(UInt8(ascii: "\""))
        string.withUTF8 { bytes in
            // What is between two escapes is copied unchanged.
            var start = 0
            for (position, byte) in bytes.enumerated() {
                guard let escape = escape(byte) else { continue }
                output += bytes[start..<position]
                output += escape.utf8
                start = position + 1
            }
            output += bytes[start...]
        }
        output.append(UInt8(ascii: "\""))
    }

    private static func escape(_ byte: UInt8) -> String? {
        switch byte {
        case UInt8(ascii: "\""): return "\\\""
        case UInt8(ascii: "\\"): return "\\\\"
        case UInt8(ascii: "\n"): return "\\n"
        case UInt8(ascii: "\r"): return "\\r"
        case UInt8(ascii: "\t"): return "\\t"
        case 0..<0x20:
            let hex = String(byte, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        default: return nil
        }
    }
}

extension JSON: ExpressibleByDictionaryLiteral, ExpressibleByStringLiteral, ExpressibleByNilLiteral {
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(elements.map { Member(name: $0.0, value: $0.1) })
    }

    public init(stringLiteral value: String) {
        self = .string(value)
    }

    public init(nilLiteral: ()) {
        self = .null
    }

    public static func string(_ value: String?) -> JSON {
        value.map { .string($0) } ?? .null
    }

    public static func int(_ value: Int?) -> JSON {
        value.map { .int($0) } ?? .null
    }

    public static func raw(_ text: String?) -> JSON {
        text.map { .raw($0) } ?? .null
    }
}
