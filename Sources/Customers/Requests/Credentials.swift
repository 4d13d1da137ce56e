import Crypto

/// What a client authenticates with. The secret itself isn't kept, only its digest.
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

/// The prefixes by which people and scanners recognize keys and secrets.
public enum Secrets {
    /// Every client key begins so.
    public static let keyPrefix = "ck_"
    /// Every secret begins so.
    public static let secretPrefix = "cs_"
}

/// The role of an API key.
public enum Role: String, Sendable, Hashable, CaseIterable {
    case viewer
    case editor
    case admin
    case auditor
}

/// What a key may do. Which role holds which permission is decided by `service.permits` in the database.
public enum Permission: String, Sendable, Hashable, CaseIterable {
    case readCustomers = "customers:read"
    case writeCustomers = "customers:write"
    case deleteCustomers = "customers:delete"
    case restoreCustomers = "customers:restore"
    case readAudit = "audit:read"
    case manageWebhooks = "webhooks:manage"
    /// What every key has.
    case any
    /// What no role holds: an operation that needs it is switched off.
    case switchedOff = "switched-off"

    /// Those that a key can be made with, or without.
    public static let grantable = allCases.filter { $0 != .any && $0 != .switchedOff }
}
