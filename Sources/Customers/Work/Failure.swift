import LibPQ

/// Why an attempt failed, for the trail.
public struct Failure: Sendable, Hashable {
    /// `P2003`: a foreign key refused.
    public static let foreignKeyViolation = "P2003"

    public var errorCode: String?
    public var sqlstate: String?
    public var constraintName: String?
    public var referencingTable: String?
    public var message: String?

    var json: JSON {
        [
            "error_code": .string(errorCode),
            "sqlstate": .string(sqlstate),
            "constraint_name": .string(constraintName),
            "referencing_table": .string(referencingTable),
            "error_message": .string(message),
        ]
    }
}

extension Failure {
    /// A foreign key on customers that forbade the deletion. Its DETAIL names the key alone, so it may be kept.
    init(refusal error: ServerError) {
        self.init(
            errorCode: Self.foreignKeyViolation,
            sqlstate: error.sqlstate.rawValue,
            constraintName: error.constraint,
            referencingTable: error.schema == "public" ? error.table : "\(error.schema ?? "").\(error.table ?? "")",
            message: [error.message, error.detail].compactMap { $0 }.joined(separator: ". ")
        )
    }

    /// Anything else that the database said. Without DETAIL, which can print whole rows.
    init(_ error: DatabaseError) {
        self.init(
            sqlstate: error.sqlstate?.rawValue,
            constraintName: error.serverError?.constraint,
            message: error.serverError?.message ?? "\(error)"
        )
    }
}
