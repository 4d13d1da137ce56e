/// What a request body says, however it is spelled: equal bytes for equal members with equal values.
///
/// White space goes, members are sorted by the bytes of their names, strings are written plainly, numbers in one form
/// for one value.
///
/// - Returns: the body as it is, if ``BodyReader`` refuses it.
public func canonicalBody(_ body: [UInt8]) -> [UInt8] {
    guard let value = try? BodyReader.value(of: body) else { return body }
    var canonical: [UInt8] = []
    canonical.reserveCapacity(body.count)
    value.write(to: &canonical)
    return canonical
}

extension BodyValue {
    fileprivate func write(to output: inout [UInt8]) {
        switch self {
        case .null: output += "null".utf8
        case .bool(let value): output += (value ? "true" : "false").utf8
        case .number(let text): output += CanonicalNumber.text(of: text).utf8
        case .string(let text): Self.write(text, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                element.write(to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            let sorted = members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
            output.append(UInt8(ascii: "{"))
            for (index, member) in sorted.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &output)
                output.append(UInt8(ascii: ":"))
                member.value.write(to: &output)
            }
            output.append(UInt8(ascii: "}"))
        }
    }

    /// Only what has to be is escaped, each in one way.
    private static func write(_ text: String, to output: inout [UInt8]) {
        var text = text
        output.append(UInt8(ascii: "\""))
        text.withUTF8 { bytes in
            var rest = bytes[...]
            while let place = rest.firstIndex(where: { $0 < 0x20 || $0 == 0x22 || $0 == 0x5c }) {
                let byte = rest[place]
                output += rest[..<place]
                output.append(UInt8(ascii: "\\"))
                if byte < 0x20 {
                    output += "u00".utf8
                    output.append(UInt8(ascii: "0") + byte >> 4)
                    let digit = byte & 0xf
                    output.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
                } else {
                    output.append(byte)
                }
                rest = rest[(place + 1)...]
            }
            output += rest
        }
        output.append(UInt8(ascii: "\""))
    }
}

/// One text for each value of a JSON number.
private enum CanonicalNumber {
    /// The digits without zeros at either end, and the power of ten that they are multiplied by: `-1.50` is `-15e-1`.
    static func text(of number: String) -> String {
        var rest = Array(number.utf8)[...]
        let isNegative = rest.first == UInt8(ascii: "-")
        if isNegative { rest.removeFirst() }
        let mantissa = rest.prefix { $0 != UInt8(ascii: "e") && $0 != UInt8(ascii: "E") }
        let exponentText = String(decoding: rest.dropFirst(mantissa.count + 1), as: UTF8.self)
        let whole = mantissa.prefix { $0 != UInt8(ascii: ".") }
        let fraction = mantissa.dropFirst(whole.count + 1)
        let digits = whole + fraction
        let zero = UInt8(ascii: "0")
        let significant = digits.drop { $0 == zero }
        guard let last = significant.lastIndex(where: { $0 != zero }) else { return "0" }
        // An exponent beyond 32 bits: such a number is equal only to itself as it is spelled.
        guard let exponent = exponentText.isEmpty ? 0 : Int32(exponentText) else { return number }
        let power = Int(exponent) - fraction.count + (significant.endIndex - 1 - last)
        let sign = isNegative ? "-" : ""
        return "\(sign)\(String(decoding: significant[...last], as: UTF8.self))e\(power)"
    }
}
