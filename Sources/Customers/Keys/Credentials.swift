import Crypto

/// What a client shows to be let in. The secret itself isn't kept, only its digest.
public struct Credentials: Sendable {
    /// `x-client-key`; nil when it was missing or given twice, so that it matches no key.
    public let clientKey: String?
    /// SHA-256 of `x-client-secret`, or of nothing.
    public let secretDigest: [UInt8]

    public init(clientKey: String?, secret: String?) {
        self.clientKey = clientKey
        self.secretDigest = Self.digest(secret ?? "")
    }

    /// The form in which the database keeps a secret. The secrets are 256 random bits, so a plain digest suffices.
    public static func digest(_ secret: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(secret.utf8)))
    }
}
