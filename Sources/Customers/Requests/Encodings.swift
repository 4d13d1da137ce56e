import LibPQ

// Percent-encoding. Source: RFC 3986, section 2.1.
extension StringProtocol {
    /// The text without percent-encoding, nil where a `%` isn't followed by two digits, or the bytes are no UTF-8.
    package var percentDecoded: String? {
        let (bytes, isWhole) = percentDecodedBytes
        return isWhole ? String(validating: bytes, as: UTF8.self) : nil
    }

    /// The text without percent-encoding; what isn't valid percent-encoding stays.
    package var percentDecodedWherePossible: String {
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

// base64url without padding. Source: RFC 4648, section 5.
extension Data {
    package var base64URL: String {
        base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    init?(base64URL text: String) {
        let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        self.init(base64Encoded: text.replacing("-", with: "+").replacing("_", with: "/") + padding)
    }
}

extension StringProtocol {
    /// The text without white space at its two ends.
    package var trimmed: String {
        guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(self[...last].drop { $0.isWhitespace })
    }
}
