public import LibPQ

/// What must be true of a database and of a role before requests are served with them.
public enum ServeGuard {
    /// Refuses a database that this binary can't work with, and a role that could alter the audit trail or can't do its
    /// work.
    ///
    /// - Parameters:
    ///   - connection: a session as the role that is going to serve.
    ///   - allowOwner: whether a superuser or the owner of the trail may serve anyway.
    public static func check(
        _ connection: Connection, allowOwner: Bool, deadline: ContinuousClock.Instant
    ) async throws(ServeGuardError) {
        try await Schema.check(connection, deadline: deadline)
        if !allowOwner { try await checkRole(connection, deadline: deadline) }
        let missing: [String]
        do {
            missing = try await Privileges.missing(
                to: "current_user", as: "service", connection, deadline: deadline)
        } catch {
            throw .init(error)
        }
        guard missing.isEmpty else { throw .missingPrivileges(missing) }
    }

    /// The session's user counts as well as the current one, because `RESET ROLE` leads back to it.
    private static func checkRole(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(ServeGuardError) {
        let found: QueryResult
        do {
            found = try await connection.query(
                Statement(
                    """
                    SELECT r.rolname, r.rolsuper, pg_catalog.pg_has_role(r.oid, t.relowner, 'MEMBER'), o.rolname
                    FROM pg_catalog.pg_roles AS r
                    CROSS JOIN pg_catalog.pg_class AS t
                    JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) t.relowner
                    WHERE r.rolname OPERATOR(pg_catalog.=) ANY (ARRAY[current_user, session_user])
                      AND t.oid OPERATOR(pg_catalog.=) 'audit.entries'::pg_catalog.regclass
                    """,
                    prepared: false
                ),
                deadline: deadline
            )
        } catch {
            throw .init(error)
        }
        for row in found.rows {
            let role = row[0] ?? ""
            if row.bool(1) == true { throw .superuser(role: role) }
            if row.bool(2) == true { throw .owner(role: role, owner: row[3] ?? "") }
        }
    }
}

/// Why requests can't be served with this database and this role.
public enum ServeGuardError: Error, Sendable, Hashable {
    case schema(SchemaMismatch)
    case superuser(role: String)
    /// The role owns the trail, or is a member of the role that does.
    case owner(role: String, owner: String)
    /// What the role would need, as `DELETE on public.customers`.
    case missingPrivileges([String])
    case database(DatabaseError)

    /// A database without the schema says so in several ways.
    init(_ error: DatabaseError) {
        switch error {
        case .server(let cause) where [.undefinedTable, "3F000"].contains(cause.sqlstate):
            self = .schema(.behind(version: 0, needed: Schema.current.version))
        case .server(let cause) where cause.sqlstate == .insufficientPrivilege:
            self = .missingPrivileges([cause.message])
        default:
            self = .database(error)
        }
    }
}

extension ServeGuardError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .schema(let mismatch):
            "\(mismatch)"
        case .superuser(let role):
            """
            \(role) is a superuser, which could alter the audit trail: connect as the service's role, or set \
            CUSTOMERD_ALLOW_OWNER=1 to serve anyway.
            """
        case .owner(let role, let owner):
            """
            \(role) is \(role == owner ? "" : "a member of \(owner), ")the owner of audit.entries, which could alter the \
            audit trail: connect as the service's role, or set CUSTOMERD_ALLOW_OWNER=1 to serve anyway.
            """
        case .missingPrivileges(let privileges):
            """
            The service's role lacks a privilege (\(privileges.joined(separator: ", "))): run `customerd migrate`, which \
            grants them again, and connect as the role that it made.
            """
        case .database(let error):
            "\(error)"
        }
    }
}
