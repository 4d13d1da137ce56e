import Crypto

/// A strong validator of a record (RFC 9110, section 8.8.3): the first half of its SHA-256, as `service.etag` makes it.
public struct EntityTag: Sendable, Hashable {
    /// With the quotes.
    public let text: String

    public init(of record: String) {
        let digest = SHA256.hash(data: Array(record.utf8))
        let hex = digest.prefix(16).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }
        text = "\"" + hex.joined() + "\""
    }
}
