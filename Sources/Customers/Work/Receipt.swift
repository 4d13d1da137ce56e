/// What a committed unit of work left behind: its finished answer.
public struct Receipt: Sendable, Hashable {
    public let outcome: Outcome
    public let status: Int
    public let body: String
    public let beforeImage: String?
}
