/// A key with its secret, which is known at this moment only.
public struct IssuedKey: Sendable {
    public let clientKey: String
    public let secret: String
    public let appID: UUID
    public let role: String
}
