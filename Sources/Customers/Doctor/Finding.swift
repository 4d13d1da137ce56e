/// What one check of ``Doctor`` has found.
public struct Finding: Sendable, Hashable {
    public enum Level: String, Sendable, Hashable, CaseIterable {
        case ok
        /// It works, but not as it should.
        case warning
        /// A promise of the service doesn't hold.
        case failure
    }

    /// What was looked at: `schema`, `grants` …
    public let check: String
    public let level: Level
    /// One sentence.
    public let message: String

    public init(_ check: String, _ level: Level, _ message: String) {
        self.check = check
        self.level = level
        self.message = message
    }
}
