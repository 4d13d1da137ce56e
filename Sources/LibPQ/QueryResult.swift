/// What a statement answered.
public struct QueryResult: Sendable {
    /// The names of the columns, from left to right.
    public let columns: [String]
    public let rows: [Row]
    /// What the server says that it did: `SELECT 3`, `DELETE 1`, `COMMIT`.
    ///
    /// Source: PostgreSQL manual, "Message Formats", CommandComplete.
    public let commandTag: String

    /// The number at the end of the command tag: rows that were inserted, updated, deleted or returned; 0 if none.
    public var affectedRows: Int {
        commandTag.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }
}
