public import LibPQ

/// What must be true of a database and of a role before requests are served with them.
public struct ServeGuard: Sendable {
    /// Refuses a database that isn't at the schema of this binary, and a role that could alter the trail.
    ///
    /// - Parameters:
    ///   - connection: a session as the role that is going to serve.
    ///   - allowOwner: whether a superuser or the owner of the trail may serve all the same.
    public static func check(
        _ connection: Connection, allowOwner: Bool, deadline: ContinuousClock.Instant
    ) async throws(ServeGuardError) {
        try await Schema.check(connection, deadline: deadline)
        if !allowOwner { try await checkRole(connection, deadline: deadline) }
    }

    /// The session's user counts as well as the current one, because `RESET ROLE` leads back to it.
    static func checkRole(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(ServeGuardError) {
        let standing: QueryResult
        do {
            standing = try await connection.query(
                Statement(
                    """
                    SELECT r.rolname, r.rolsuper, pg_has_role(r.oid, t.relowner, 'MEMBER'), o.rolname
                    FROM pg_catalog.pg_roles AS r
                    CROSS JOIN pg_catalog.pg_class AS t
                    JOIN pg_catalog.pg_roles AS o ON o.oid = t.relowner
                    WHERE r.rolname IN (current_user, session_user)
                      AND t.oid = 'audit.entries'::regclass
                    """,
                    prepared: false
                ),
                deadline: deadline
            )
        } catch {
            throw .init(error)
        }
        for row in standing.rows {
            let role = row[0] ?? ""
            if row.bool(1) == true { throw .superuser(role: role) }
            if row.bool(2) == true { throw .owner(role: role, owner: row[3] ?? "") }
        }
    }
}
