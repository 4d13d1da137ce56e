/// What a request body says, however it is spelled: equal bytes for equal members with equal values.
///
/// White space goes, members are sorted by the bytes of their names, strings are written plainly, numbers in one form
/// for one value.
///
/// - Returns: the body as it is, if ``JSONReader`` refuses it.
public func canonicalBody(_ body: [UInt8]) -> [UInt8] {
    // What operations have accepted, they have read before, within their limits.
    guard let value = try? JSONReader.value(of: body, upTo: .max) else { return body }
    return Array(value.canonical.text.utf8)
}

extension JSONReader.Value {
    fileprivate var canonical: JSON {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .number(let text): .raw(CanonicalNumber.text(of: text))
        case .string(let text): .string(text)
        case .array(let elements): .array(elements.map(\.canonical))
        case .object(let members):
            .object(
                members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
                    .map { .init(name: $0.name, value: $0.value.canonical) })
        }
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
        // An exponent beyond 32 bits: such a number equals only the same spelling.
        guard let exponent = exponentText.isEmpty ? 0 : Int32(exponentText) else { return number }
        let power = Int(exponent) - fraction.count + (significant.endIndex - 1 - last)
        let sign = isNegative ? "-" : ""
        return "\(sign)\(String(decoding: significant[...last], as: UTF8.self))e\(power)"
    }
}
