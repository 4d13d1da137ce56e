/// Why a statement wasn't answered with a result.
public enum DatabaseError: Error, Sendable, Hashable {
    /// The statement failed. The session is still open.
    case server(ServerError)
    /// The session has ended, with the first error that the server sent about it, if any (57P01 …).
    case connectionLost(ServerError?)
    /// The deadline passed and the session was closed. What the server did with the statement is unknown.
    case deadlineExceeded
    /// There was no connection: connecting failed, or the pool was exhausted until the deadline, is backing off or is
    /// closed. Nothing was sent. The text never contains the connection string.
    case unavailable(String)
    /// The task was canceled. A statement that was running was canceled on the server, too.
    case cancelled
    /// The database answered, but not what this program understands: a defect of one of the two.
    case unexpected(String)

    public var serverError: ServerError? {
        switch self {
        case .server(let error): error
        case .connectionLost(let error): error
        case .deadlineExceeded, .unavailable, .cancelled, .unexpected: nil
        }
    }

    public var sqlstate: SQLState? {
        serverError?.sqlstate
    }

    /// The same transaction may succeed when it is run again: 40001 and 40P01.
    public var isRetryable: Bool {
        sqlstate == .serializationFailure || sqlstate == .deadlockDetected
    }

    /// The database couldn't be reached or couldn't take the work: the request wasn't at fault.
    ///
    /// Classes 08 and 53, 57P0x, 55P03, 57014 and 25006, and everything that isn't `server`.
    public var isUnavailability: Bool {
        if case .unexpected = self { return false }
        guard case .server(let error) = self else { return true }
        let state = error.sqlstate
        return state.errorClass == "08" || state.errorClass == "53" || state.rawValue.hasPrefix("57P0")
            || state == .lockNotAvailable || state == .queryCanceled || state == .readOnlyTransaction
    }

    /// The same may succeed at another time: the database is away, or another transaction was in the way.
    public var maySucceedLater: Bool {
        isUnavailability || isRetryable
    }
}

extension DatabaseError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .server(let error): "\(error)"
        case .connectionLost(let error?): "connection lost (\(error))"
        case .connectionLost(nil): "connection lost"
        case .deadlineExceeded: "deadline exceeded"
        case .unavailable(let reason): "database unavailable: \(reason)"
        case .cancelled: "cancelled"
        case .unexpected(let answer): "unexpected answer: \(answer)"
        }
    }
}

/// An error that the server sent, in its fields.
///
/// `detail` may contain a whole row, so it doesn't belong in a log; `description` leaves it out.
///
/// Source: PostgreSQL manual, "Error and Notice Message Fields"; libpq `PQresultErrorField`.
public struct ServerError: Error, Sendable, Hashable {
    /// `ERROR`, `FATAL` or `PANIC`, never translated.
    public var severity: String
    public var sqlstate: SQLState
    public var message: String
    public var detail: String?
    public var hint: String?
    public var schema: String?
    public var table: String?
    public var column: String?
    public var constraint: String?
    /// The call stack of PL/pgSQL functions and the like.
    public var context: String?

    public init(
        severity: String = "ERROR",
        sqlstate: SQLState,
        message: String,
        detail: String? = nil,
        hint: String? = nil,
        schema: String? = nil,
        table: String? = nil,
        column: String? = nil,
        constraint: String? = nil,
        context: String? = nil
    ) {
        self.severity = severity
        self.sqlstate = sqlstate
        self.message = message
        self.detail = detail
        self.hint = hint
        self.schema = schema
        self.table = table
        self.column = column
        self.constraint = constraint
        self.context = context
    }
}

extension ServerError: CustomStringConvertible {
    public var description: String {
        "\(severity) \(sqlstate): \(message)"
    }
}

extension ServerError {
    /// The session ends with this error.
    var endsSession: Bool {
        severity == "FATAL" || severity == "PANIC"
    }

    /// The session may stay open, but is of no use to the next caller: a standby, or a server that is shutting down.
    var retiresSession: Bool {
        endsSession || sqlstate == .readOnlyTransaction || sqlstate.errorClass == "08"
            || sqlstate.rawValue.hasPrefix("57P0")
    }
}

/// The five characters by which PostgreSQL identifies a condition.
///
/// Source: PostgreSQL manual, Appendix A "PostgreSQL Error Codes".
public struct SQLState: RawRepresentable, Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    public var rawValue: String

    public init(rawValue: String) {
        self.rawValue = rawValue
    }

    public init(stringLiteral value: String) {
        self.init(rawValue: value)
    }

    /// The first two characters: the class of the condition.
    public var errorClass: String {
        String(rawValue.prefix(2))
    }

    public var description: String {
        rawValue
    }
}

extension SQLState {
    public static let featureNotSupported: SQLState = "0A000"
    public static let characterNotInRepertoire: SQLState = "22021"
    public static let restrictViolation: SQLState = "23001"
    public static let foreignKeyViolation: SQLState = "23503"
    public static let uniqueViolation: SQLState = "23505"
    public static let readOnlyTransaction: SQLState = "25006"
    public static let inFailedTransaction: SQLState = "25P02"
    public static let invalidStatementName: SQLState = "26000"
    public static let serializationFailure: SQLState = "40001"
    public static let completionUnknown: SQLState = "40003"
    public static let deadlockDetected: SQLState = "40P01"
    public static let insufficientPrivilege: SQLState = "42501"
    public static let duplicateObject: SQLState = "42710"
    public static let undefinedFunction: SQLState = "42883"
    public static let undefinedTable: SQLState = "42P01"
    public static let lockNotAvailable: SQLState = "55P03"
    public static let queryCanceled: SQLState = "57014"
}
