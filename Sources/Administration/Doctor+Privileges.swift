import LibPQ

extension Doctor {
    // MARK: - Who may do what

    func existingRoles() async throws(DatabaseError) -> [Finding] {
        let existing = try await rows(
            """
            SELECT r.rolname, r.rolsuper, r.rolcanlogin,
                   EXISTS (SELECT
                           FROM pg_catalog.pg_roles AS o
                           WHERE o.rolname = $1 AND pg_has_role(r.oid, o.oid, 'MEMBER'))
            FROM pg_catalog.pg_roles AS r
            WHERE r.rolname = ANY ($2::name[])
            """,
            [.text(roles.owner), .array([roles.owner, roles.service, roles.auditor])]
        )
        var findings: [Finding] = []
        for role in [roles.owner, roles.service, roles.auditor] {
            guard let row = existing.first(where: { $0[0] == role }) else {
                findings.append(Finding("roles", .failure, "The role \(role) is missing: run `customerd migrate`."))
                continue
            }
            guard role != roles.owner else { continue }
            if row.bool(1) == true {
                findings.append(
                    Finding("roles", .failure, "\(role) is a superuser, who could alter the trail: take that from it."))
            } else if row.bool(3) == true {
                findings.append(
                    Finding("roles", .failure, "\(role) is a member of \(roles.owner), so it could alter the trail."))
            }
            if row.bool(2) == false {
                findings.append(Finding("roles", .warning, "\(role) can't log in: ALTER ROLE … LOGIN."))
            }
        }
        return findings.isEmpty
            ? [Finding("roles", .ok, "The roles are there, and none of those that log in is more than it should be.")]
            : findings
    }

    func grants() async throws(DatabaseError) -> [Finding] {
        guard try await exists("audit.entries"), try await roleExists(roles.service) else { return [] }
        let forbidden = try await rows(
            """
            SELECT r.rolname, p.name, string_agg(p.privilege, ', ' ORDER BY p.privilege)
            FROM pg_catalog.pg_roles AS r
            CROSS JOIN (VALUES ('audit.entries', 'INSERT'), ('audit.entries', 'UPDATE'), ('audit.entries', 'DELETE'),
                               ('audit.entries', 'TRUNCATE'), ('audit.entries', 'TRIGGER'),
                               ('audit.heads', 'INSERT'), ('audit.heads', 'UPDATE'), ('audit.heads', 'DELETE'),
                               ('audit.heads', 'TRUNCATE'),
                               ('service.api_keys', 'SELECT'), ('service.api_keys', 'INSERT'),
                               ('service.api_keys', 'UPDATE'), ('service.api_keys', 'DELETE'),
                               ('service.attempts', 'SELECT'), ('service.attempts', 'INSERT'),
                               ('service.attempts', 'UPDATE'), ('service.attempts', 'DELETE')) AS p (name, privilege)
            WHERE r.rolname = ANY ($1::name[])
              AND NOT r.rolsuper
              AND NOT pg_has_role(r.oid, (SELECT relowner FROM pg_catalog.pg_class
                                          WHERE oid = 'audit.entries'::regclass), 'MEMBER')
              AND CASE WHEN p.privilege IN ('INSERT', 'UPDATE', 'SELECT')
                       THEN has_table_privilege(r.oid, p.name, p.privilege)
                            OR has_any_column_privilege(r.oid, p.name, p.privilege)
                       ELSE has_table_privilege(r.oid, p.name, p.privilege) END
            GROUP BY r.rolname, p.name
            ORDER BY r.rolname, p.name
            """,
            [.array([roles.service, roles.auditor])]
        ).map { row in
            Finding("grants", .failure, "\(row[0] ?? "") has \(row[2] ?? "") on \(row[1] ?? ""), which it must not.")
        }
        let missing = try await missingGrants()
        let findings = forbidden + missing
        return findings.isEmpty
            ? [Finding("grants", .ok, "\(roles.service) can do its work and can't alter the trail.")] : findings
    }

    private func missingGrants() async throws(DatabaseError) -> [Finding] {
        let missing = try await rows(
            """
            SELECT p.privilege || ' on ' || p.name
            FROM (VALUES ('public.customers', 'SELECT'), ('public.customers', 'INSERT'),
                         ('public.customers', 'UPDATE'), ('public.customers', 'DELETE'),
                         ('audit.entries', 'SELECT'), ('service.migrations', 'SELECT')) AS p (name, privilege)
            WHERE NOT has_table_privilege($1, p.name, p.privilege)
            UNION ALL
            SELECT 'EXECUTE on ' || f.oid::regprocedure
            FROM pg_catalog.pg_proc AS f
            WHERE f.pronamespace = 'service'::regnamespace
              AND f.proname IN ('admit', 'hold', 'finish', 'settle', 'append', 'recover', 'purge')
              AND NOT has_function_privilege($1, f.oid, 'EXECUTE')
            ORDER BY 1
            """,
            [.text(roles.service)]
        ).compactMap { $0[0] }
        guard !missing.isEmpty else { return [] }
        return [Finding("grants", .failure, "\(roles.service) lacks \(missing.joined(separator: ", ")).")]
    }

    private func roleExists(_ role: String) async throws(DatabaseError) -> Bool {
        try await !rows("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", [.text(role)]).isEmpty
    }

    /// Both triggers must fire ALWAYS, or `session_replication_role` would silence them.
    func trailTriggers() async throws(DatabaseError) -> [Finding] {
        guard try await exists("audit.entries") else { return [] }
        let findings = try await rows(
            """
            SELECT w.name, t.tgenabled
            FROM (VALUES ('entries_are_never_changed'), ('entries_are_never_truncated')) AS w (name)
            LEFT JOIN pg_catalog.pg_trigger AS t ON t.tgrelid = 'audit.entries'::regclass AND t.tgname = w.name
            WHERE t.tgenabled IS DISTINCT FROM 'A'
            ORDER BY w.name
            """
        ).map { row in
            let name = row[0] ?? ""
            return row[1] == nil
                ? Finding("trail", .failure, "The trigger \(name) is missing, so audit.entries isn't append-only.")
                : Finding("trail", .failure, "The trigger \(name) can be silenced: it must be ENABLE ALWAYS.")
        }
        return findings.isEmpty
            ? [Finding("trail", .ok, "audit.entries is append-only, for its owner too.")] : findings
    }
}
