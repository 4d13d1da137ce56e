/// The role of an API key.
public enum Role: String, Sendable, Hashable, CaseIterable {
    case viewer
    case editor
    case admin
    case auditor
}
