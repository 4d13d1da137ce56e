/// An API key as operators see it: everything but its secret.
public struct APIKey: Sendable, Hashable {
    public let appID: UUID
    public let clientKey: String
    public let name: String
    public let role: String
    /// Times are RFC 3339 in UTC.
    public let createdAt: String
    /// When it stops working; nil for never.
    public let expiresAt: String?
    public let revokedAt: String?
    /// nil if it never was.
    public let lastUsedAt: String?
    /// Until when the secret before the last rotation works; nil if there is none.
    public let previousSecretExpiresAt: String?
}
