public import LibPQ

/// Why requests can't be served with this database and this role.
public enum ServeGuardError: Error, Sendable, Hashable {
    /// The schema is behind; version 0 means that there is none.
    case notMigrated(version: Int, needed: Int)
    /// The schema was migrated by a newer binary.
    case newer(version: Int, known: Int)
    /// The database has another migration under the same number.
    case edited(name: String)
    case superuser(role: String)
    /// The role owns the trail, or is a member of the role that does.
    case owner(role: String, owner: String)
    case database(DatabaseError)
}

extension ServeGuardError {
    /// A database without the schema says so in several ways.
    init(_ error: DatabaseError) {
        switch error.sqlstate {
        case .undefinedTable?, "3F000"?: self = .notMigrated(version: 0, needed: Schema.version)
        default: self = .database(error)
        }
    }
}

extension ServeGuardError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notMigrated(version: 0, _):
            "The database has no schema yet: run `customerd migrate` first."
        case .notMigrated(let version, let needed):
            "The schema is at version \(version), but this customerd needs version \(needed): run `customerd migrate`."
        case .newer(let version, let known):
            "The database was migrated to version \(version) by a newer customerd; this one knows versions up to \(known)."
        case .edited(let name):
            "The database was migrated with another text of \(name) than this customerd has."
        case .superuser(let role):
            """
            \(role) is a superuser, who could alter the audit trail: connect as the service's role, or set \
            CUSTOMERD_ALLOW_OWNER=1 to serve all the same.
            """
        case .owner(let role, let owner):
            """
            \(role) is \(role == owner ? "" : "a member of \(owner), ")the owner of audit.entries, who could alter the \
            audit trail: connect as the service's role, or set CUSTOMERD_ALLOW_OWNER=1 to serve all the same.
            """
        case .database(let error):
            "\(error)"
        }
    }
}
