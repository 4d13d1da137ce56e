import Crypto

/// What makes two requests under one idempotency key the same: SHA-256 of what they ask for.
public enum Fingerprint {
    /// - Parameters:
    ///   - operation: method and path, identifiers in lower case.
    ///   - parts: the body and whatever header changes its meaning.
    public static func of(_ operation: String, _ parts: [[UInt8]] = []) -> [UInt8] {
        var hash = SHA256()
        for part in [Array(operation.utf8)] + parts {
            hash.update(data: withUnsafeBytes(of: UInt64(part.count).bigEndian) { Array($0) })
            hash.update(data: part)
        }
        return Array(hash.finalize())
    }

    /// Deleting one customer, on its own or in a bulk request.
    public static func deletion(of customerID: UUID?) -> [UInt8] {
        of("DELETE /api/v0/customers/\(customerID?.text ?? "")")
    }
}
