/// Who was let in: the API key behind a request.
public struct Caller: Sendable, Hashable {
    public let appID: UUID
    public let keyID: UUID
    public let clientKey: String
    public let name: String
    public let role: String
}
