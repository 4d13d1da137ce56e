/// The result of one statement.
public struct QueryResult: Sendable {
    /// The names of the columns, from left to right.
    public let columns: [String]
    public let rows: [Row]
    /// What the server reports that it did: `SELECT 3`, `DELETE 1`, `COMMIT`.
    ///
    /// Source: PostgreSQL manual, "Message Formats", CommandComplete.
    let commandTag: String
}

/// One row of a result, in text format.
///
/// A row keeps the memory of its whole result alive: copy out the values that are to outlive it.
/// A typed reader returns nil for NULL and for a value of another type. Reading a column that doesn't exist is a
/// programming error, which stops a debug build.
public struct Row: Sendable {
    let result: PQResult
    let index: Int32
}

extension Row {
    public subscript(_ column: Int) -> String? {
        string(column)
    }

    public func string(_ column: Int) -> String? {
        assert(column >= 0 && column < result.columns.count, "there is no column \(column)")
        return result.text(row: index, column: Int32(column))
    }

    public func int(_ column: Int) -> Int? {
        string(column).flatMap { Int($0) }
    }

    public func bool(_ column: Int) -> Bool? {
        switch string(column) {
        case "t": true
        case "f": false
        default: nil
        }
    }

    public func uuid(_ column: Int) -> UUID? {
        string(column).flatMap { UUID(hexadecimal: $0) }
    }

    /// The bytes of a `bytea`, in either of its output formats.
    ///
    /// Source: PostgreSQL manual, "Binary Data Types".
    public func bytes(_ column: Int) -> [UInt8]? {
        result.bytes(row: index, column: Int32(column))
    }
}

extension Row {
    public subscript(_ column: String) -> String? {
        string(column)
    }

    public func string(_ column: String) -> String? {
        position(column).flatMap { string($0) }
    }

    public func int(_ column: String) -> Int? {
        position(column).flatMap { int($0) }
    }

    public func bool(_ column: String) -> Bool? {
        position(column).flatMap { bool($0) }
    }

    public func uuid(_ column: String) -> UUID? {
        position(column).flatMap { uuid($0) }
    }

    public func bytes(_ column: String) -> [UInt8]? {
        position(column).flatMap { bytes($0) }
    }

    private func position(_ column: String) -> Int? {
        let position = result.columns.firstIndex(of: column)
        assert(position != nil, "there is no column \(column), only \(result.columns)")
        return position
    }
}
