#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// One SQL statement with its parameters.
public struct Statement: Sendable, Hashable {
    public var sql: String
    public var parameters: [Parameter]
    /// Whether the session may keep the statement prepared under a name, to plan it once.
    /// ``ConnectionSettings/preparesStatements`` can switch that off for all.
    public var prepared: Bool

    /// - Parameters:
    ///   - sql: exactly one statement, with `$1 … $n` for its values.
    ///   - parameters: at most 65,535 values.
    ///   - prepared: false for a statement that isn't going to be repeated.
    public init(_ sql: String, _ parameters: [Parameter] = [], prepared: Bool = true) {
        self.sql = sql
        self.parameters = parameters
        self.prepared = prepared
    }
}

/// A value for `$1 … $n`.
///
/// Text goes in text format with an unspecified type, so the server infers the type from the statement, and
/// `numeric`, `uuid`, `timestamptz` and `jsonb` pass without loss. Bytes go in binary format as `bytea`.
///
/// Source: PostgreSQL manual, libpq, `PQexecParams`.
public enum Parameter: Sendable, Hashable {
    case null
    /// Must not contain U+0000, which no PostgreSQL type can hold: the statement is refused with 22021, unsent.
    case text(String)
    case bytes([UInt8])
}

extension Parameter: ExpressibleByNilLiteral, ExpressibleByStringLiteral {
    public init(nilLiteral: ()) {
        self = .null
    }

    public init(stringLiteral value: String) {
        self = .text(value)
    }
}

extension Parameter {
    public static func text(_ value: String?) -> Parameter {
        value.map { .text($0) } ?? .null
    }

    public static func bytes(_ value: [UInt8]?) -> Parameter {
        value.map { .bytes($0) } ?? .null
    }

    /// The identifier in lower case, as PostgreSQL writes it.
    public static func uuid(_ value: UUID?) -> Parameter {
        .text(value?.hexadecimal)
    }

    public static func int(_ value: (some BinaryInteger)?) -> Parameter {
        .text(value.map { String($0) })
    }

    public static func bool(_ value: Bool?) -> Parameter {
        .text(value.map { $0 ? "t" : "f" })
    }

    /// A one-dimensional array literal; cast it in the statement (`$1::uuid[]`) where the type can't be inferred.
    ///
    /// Source: PostgreSQL manual, "Array Input and Output Syntax".
    public static func array(_ elements: [String?]) -> Parameter {
        let quoted = elements.map { element in
            guard let element else { return "NULL" }
            guard element.utf8.contains(where: { $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }) else {
                return "\"\(element)\""
            }
            var literal = "\""
            for scalar in element.unicodeScalars {
                if scalar == "\"" || scalar == "\\" { literal.unicodeScalars.append("\\") }
                literal.unicodeScalars.append(scalar)
            }
            return literal + "\""
        }
        return .text("{" + quoted.joined(separator: ",") + "}")
    }
}

extension Statement {
    /// Names the isolation level, so that a role's default doesn't choose it. The access mode is left to the defaults:
    /// an operator closes a database to writes by `default_transaction_read_only`.
    static let begin = Statement("BEGIN ISOLATION LEVEL READ COMMITTED", prepared: false)

    /// U+0000 ends a C string, so libpq would drop what follows it without an error.
    var hasZeroByte: Bool {
        sql.hasZeroByte || parameters.contains { if case .text(let text) = $0 { text.hasZeroByte } else { false } }
    }
}

extension String {
    var hasZeroByte: Bool {
        utf8.withContiguousStorageIfAvailable { bytes in
            bytes.baseAddress.map { memchr($0, 0, bytes.count) != nil } ?? false
        } ?? utf8.contains(0)
    }
}

extension DatabaseError {
    /// What the server would say about U+0000 in a text.
    static let zeroByte = DatabaseError.server(
        ServerError(
            sqlstate: .characterNotInRepertoire,
            message: "invalid byte sequence for encoding \"UTF8\": 0x00"
        )
    )
}
