/// HTML. What stands in the source is markup; every string that is interpolated is escaped.
struct HTML: Sendable, ExpressibleByStringInterpolation {
    let text: String

    init(stringLiteral value: String) {
        text = value
    }

    init(stringInterpolation: StringInterpolation) {
        text = stringInterpolation.text
    }

    struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var text = ""

        init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + 32 * interpolationCount)
        }

        mutating func appendLiteral(_ literal: String) {
            text += literal
        }

        mutating func appendInterpolation(_ string: String) {
            text += HTML.escaped(string)
        }

        mutating func appendInterpolation(_ html: HTML?) {
            text += html?.text ?? ""
        }

        /// Parts, each on a line of its own.
        mutating func appendInterpolation(_ parts: [HTML]) {
            appendInterpolation(parts.joined(by: "\n"))
        }

        /// The content of a script or a style, which isn't escaped; it must not contain the end of its element.
        mutating func appendInterpolation(verbatim: String) {
            text += verbatim
        }
    }

    private static func escaped(_ string: String) -> String {
        var output: [UInt8] = []
        output.reserveCapacity(string.utf8.count)
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "&"): output += "&amp;".utf8
            case UInt8(ascii: "<"): output += "&lt;".utf8
            case UInt8(ascii: ">"): output += "&gt;".utf8
            case UInt8(ascii: "\""): output += "&quot;".utf8
            case UInt8(ascii: "'"): output += "&#39;".utf8
            default: output.append(byte)
            }
        }
        return String(decoding: output, as: UTF8.self)
    }
}

extension [HTML] {
    func joined(by separator: String) -> HTML {
        "\(verbatim: map(\.text).joined(separator: separator))"
    }
}
