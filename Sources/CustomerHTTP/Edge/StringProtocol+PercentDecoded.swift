import LibPQ

/// Source: RFC 3986, section 2.1.
extension StringProtocol {
    /// The text without percent-encoding, nil where a `%` isn't followed by two digits, or the bytes are no UTF-8.
    var percentDecoded: String? {
        let (bytes, isWhole) = percentDecodedBytes
        return isWhole ? String(validating: bytes, as: UTF8.self) : nil
    }

    /// The text without percent-encoding, and with what isn't any.
    var percentDecodedWherePossible: String {
        String(decoding: percentDecodedBytes.bytes, as: UTF8.self)
    }

    /// - Returns: whether every `%` was followed by two hexadecimal digits. Where it isn't, it stays.
    private var percentDecodedBytes: (bytes: [UInt8], isWhole: Bool) {
        var (decoded, isWhole) = ([UInt8](), true)
        var rest = Array(utf8)[...]
        decoded.reserveCapacity(rest.count)
        while let byte = rest.popFirst() {
            if byte != UInt8(ascii: "%") {
                decoded.append(byte)
            } else if let high = rest.first?.hexadecimalDigit, let low = rest.dropFirst().first?.hexadecimalDigit {
                decoded.append(high << 4 | low)
                rest.removeFirst(2)
            } else {
                decoded.append(byte)
                isWhole = false
            }
        }
        return (decoded, isWhole)
    }
}
