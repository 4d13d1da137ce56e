import LibPQ

/// Makes the roles that the cluster lacks, and lets the caller act as the owner.
///
/// Another database of the cluster may have made them already, or may be making them at this moment; advisory locks
/// don't reach across databases, so a lost race is simply run again.
struct CreateRoles: Sendable {
    let roles: DatabaseRoles

    func callAsFunction(_ connection: Connection, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        let wanted = [(roles.owner, "NOLOGIN"), (roles.service, "LOGIN"), (roles.auditor, "LOGIN")]
        let existing = try await connection.query(
            Statement(
                """
                SELECT rolname
                FROM pg_catalog.pg_roles
                WHERE rolname = ANY ($1::name[])
                """,
                [.array(wanted.map(\.0))],
                prepared: false
            ),
            deadline: deadline
        ).rows.compactMap { $0[0] }
        for (role, login) in wanted where !existing.contains(role) {
            try await connection.script("CREATE ROLE \(role.quotedIdentifier) \(login)", deadline: deadline)
        }
        try await joinOwner(connection, deadline: deadline)
    }

    /// Since version 16, who makes a role may administer it, but neither has its rights nor can become it.
    private func joinOwner(_ connection: Connection, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        let version = try await connection.query(
            Statement("SELECT current_setting('server_version_num')", prepared: false), deadline: deadline
        ).rows.first?.int(0)
        let distinguishes = (version ?? 0) >= 160_000
        let isMember = try await connection.query(
            Statement(
                "SELECT pg_has_role($1, 'USAGE') AND pg_has_role($1, $2)",
                [.text(roles.owner), distinguishes ? "SET" : "MEMBER"],
                prepared: false
            ),
            deadline: deadline
        ).rows.first?.bool(0)
        guard isMember != true else { return }
        let options = distinguishes ? " WITH INHERIT TRUE, SET TRUE" : ""
        try await connection.script(
            "GRANT \(roles.owner.quotedIdentifier) TO CURRENT_USER\(options)", deadline: deadline
        )
    }
}

extension DatabaseError {
    /// Somebody else made or changed the same object of the cluster at the same moment.
    var isCatalogueRace: Bool {
        guard case .server(let error) = self else { return false }
        switch error.sqlstate {
        case .duplicateObject: return true
        case .uniqueViolation: return error.schema == "pg_catalog"
        case "XX000": return error.message.contains("tuple concurrently")
        default: return isRetryable
        }
    }
}
