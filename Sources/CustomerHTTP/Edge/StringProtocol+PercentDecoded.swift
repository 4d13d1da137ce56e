extension StringProtocol {
    /// The text without percent-encoding, nil where two hexadecimal digits don't follow a `%`, or the bytes are no UTF-8.
    ///
    /// Source: RFC 3986, section 2.1.
    var percentDecoded: String? {
        var decoded: [UInt8] = []
        var rest = Array(utf8)[...]
        decoded.reserveCapacity(rest.count)
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                decoded.append(byte)
                continue
            }
            guard
                let high = rest.popFirst().flatMap(hexadecimalDigit),
                let low = rest.popFirst().flatMap(hexadecimalDigit)
            else { return nil }
            decoded.append(high << 4 | low)
        }
        return String(validating: decoded, as: UTF8.self)
    }
}

private func hexadecimalDigit(_ byte: UInt8) -> UInt8? {
    Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) }
}
