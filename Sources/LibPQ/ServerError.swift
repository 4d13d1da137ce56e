/// An error that the server sent, in its fields.
///
/// `detail` may print a whole row, so it doesn't belong into a log; `description` leaves it out.
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

    /// The session lives on, but is of no use to whoever comes next: a standby, or a server that is shutting down.
    var retiresConnection: Bool {
        endsSession || sqlstate == .readOnlyTransaction || sqlstate.errorClass == "08"
            || sqlstate.rawValue.hasPrefix("57P0")
    }
}
