import Crypto

/// The action of an attempt, and the customer that it is about.
public struct AttemptKey: Sendable, Hashable {
    public let action: Action
    /// nil when the path held no UUID, for bulk requests, and until a customer is created.
    public var customerID: UUID?
}

/// One attempt at a write. Its id is the id of its audit entry.
public struct Attempt: Sendable {
    public let id: UUID
    public let key: AttemptKey
    public let idempotencyKey: UUID?
    /// What is wrong with the request, if anything.
    public let invalidity: Invalidity?
    /// SHA-256 of what makes two requests the same.
    let fingerprint: [UInt8]
    public let context: AttemptContext
    /// What it costs of the rate budget.
    let cost: Int
    /// All of them are needed.
    let permissions: [Permission]
    /// The deadline of the answer.
    public let deadline: ContinuousClock.Instant
}

/// What makes two requests under one idempotency key the same: SHA-256 of what they ask for.
enum Fingerprint {
    /// - Parameter parts: the operation, identifiers in lower case, and everything that changes its meaning.
    static func of(_ parts: [[UInt8]]) -> [UInt8] {
        var hash = SHA256()
        for part in parts {
            hash.update(data: withUnsafeBytes(of: UInt64(part.count).bigEndian) { Array($0) })
            hash.update(data: part)
        }
        return Array(hash.finalize())
    }

    static func of(_ key: AttemptKey, ifMatch: [String]? = nil, body: [UInt8] = []) -> [UInt8] {
        of([
            Array(key.action.rawValue.utf8), Array((key.customerID?.text ?? "").utf8),
            Array((ifMatch ?? []).joined(separator: ",").utf8), body,
        ])
    }
}
