import LibPQ

/// What the roles need, by the database's own list: `service.privileges`, made by `sql/grants.sql`.
enum Privileges {
    /// - Parameters:
    ///   - role: the role to be examined, or the literal `current_user`.
    ///   - kind: as the list calls it: `service` or `auditor`.
    /// - Returns: what it lacks: `DELETE on public.customers`. A function that is missing counts.
    static func missing(
        to role: String, as kind: String, _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [String] {
        try await connection.query(
            Statement(
                """
                SELECT p.privilege || ' on ' || CASE p.kind WHEN 'schema' THEN 'schema ' ELSE '' END || p.object
                FROM service.privileges AS p
                CROSS JOIN (SELECT CASE $1::text WHEN 'current_user' THEN current_user ELSE $1::name END) AS r (role)
                WHERE p.role = $2
                  AND NOT CASE p.kind
                          WHEN 'schema' THEN has_schema_privilege(r.role, p.object, p.privilege)
                          WHEN 'table' THEN EXISTS (
                              SELECT
                              FROM pg_class AS t
                              JOIN pg_namespace AS n ON n.oid = t.relnamespace
                              WHERE n.nspname = split_part(p.object, '.', 1)
                                AND t.relname = split_part(p.object, '.', 2)
                                AND has_table_privilege(r.role, t.oid, p.privilege))
                          WHEN 'function' THEN (
                              SELECT coalesce(bool_and(has_function_privilege(r.role, f.oid, p.privilege)), false)
                              FROM pg_proc AS f
                              JOIN pg_namespace AS n ON n.oid = f.pronamespace
                              WHERE n.nspname = split_part(p.object, '.', 1)
                                AND f.proname = split_part(p.object, '.', 2))
                          END
                ORDER BY p.kind <> 'schema', 1
                """,
                [.text(role), .text(kind)],
                prepared: false
            ),
            deadline: deadline
        ).rows.compactMap { $0[0] }
    }
}

extension Doctor {
    // MARK: - Who may do what

    func existingRoles() async throws(DatabaseError) -> [Finding] {
        let existing = try await rows(
            """
            SELECT r.rolname, r.rolsuper, r.rolcanlogin,
                   EXISTS (SELECT
                           FROM pg_roles AS o
                           WHERE o.rolname = $1 AND pg_has_role(r.oid, o.oid, 'MEMBER'))
            FROM pg_roles AS r
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
                    Finding(
                        "roles", .failure,
                        "\(role) is a superuser, so it could alter the audit trail: ALTER ROLE \(role) NOSUPERUSER."))
            } else if row.bool(3) == true {
                findings.append(
                    Finding(
                        "roles", .failure,
                        """
                        \(role) is a member of \(roles.owner), so it could alter the audit trail: REVOKE \(roles.owner) \
                        FROM \(role).
                        """))
            }
            if row.bool(2) == false {
                findings.append(Finding("roles", .warning, "\(role) can't log in: ALTER ROLE \(role) LOGIN."))
            }
        }
        return findings.isEmpty
            ? [Finding("roles", .ok, "All roles exist and have the expected attributes.")] : findings
    }

    /// Privileges beyond the list.
    func grants() async throws(DatabaseError) -> [Finding] {
        guard try await exists("service.privileges") else { return [] }
        let findings = try await rows(
            """
            SELECT r.rolname, o.name, string_agg(o.privilege, ', ' ORDER BY o.privilege)
            FROM unnest($1::name[], '{service,auditor}'::text[]) AS w (name, role)
            JOIN pg_roles AS r ON r.rolname = w.name
            CROSS JOIN LATERAL (
                SELECT 'table', n.nspname || '.' || t.relname, p.privilege
                FROM pg_class AS t
                JOIN pg_namespace AS n ON n.oid = t.relnamespace
                CROSS JOIN unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,TRIGGER}'::text[]) AS p (privilege)
                WHERE n.nspname IN ('audit', 'service')
                  AND t.relkind IN ('r', 'p', 'v', 'm')
                  AND NOT pg_has_role(r.oid, t.relowner, 'MEMBER')
                  AND CASE WHEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE')
                           THEN has_table_privilege(r.oid, t.oid, p.privilege)
                                OR has_any_column_privilege(r.oid, t.oid, p.privilege)
                           ELSE has_table_privilege(r.oid, t.oid, p.privilege) END
                UNION ALL
                SELECT 'function', n.nspname || '.' || f.proname, 'EXECUTE'
                FROM pg_proc AS f
                JOIN pg_namespace AS n ON n.oid = f.pronamespace
                WHERE n.nspname IN ('audit', 'service')
                  AND NOT pg_has_role(r.oid, f.proowner, 'MEMBER')
                  AND has_function_privilege(r.oid, f.oid, 'EXECUTE')) AS o (kind, name, privilege)
            WHERE NOT r.rolsuper
              AND NOT EXISTS (
                  SELECT
                  FROM service.privileges AS p
                  WHERE (p.role, p.kind, p.object, p.privilege) = (w.role, o.kind, o.name, o.privilege))
            GROUP BY r.rolname, o.name
            ORDER BY r.rolname, o.name
            """,
            [.array([roles.service, roles.auditor])]
        ).map { row in
            Finding(
                "grants", .failure,
                "\(row[0] ?? "") has \(row[2] ?? "") on \(row[1] ?? ""), which it must not: run `customerd migrate`.")
        }
        return findings.isEmpty
            ? [Finding("grants", .ok, "No role has more privileges than it should; none can alter the audit trail.")]
            : findings
    }

    /// Privileges of the list that are missing.
    func privileges() async throws(DatabaseError) -> [Finding] {
        guard try await exists("service.privileges") else { return [] }
        var findings: [Finding] = []
        for (role, kind) in [(roles.service, "service"), (roles.auditor, "auditor")] where try await roleExists(role) {
            let missing = try await Privileges.missing(to: role, as: kind, connection, deadline: deadline)
            guard !missing.isEmpty else { continue }
            findings.append(
                Finding(
                    "privileges", .failure,
                    "\(role) lacks \(missing.joined(separator: ", ")): run `customerd migrate`."))
        }
        return findings.isEmpty
            ? [Finding("privileges", .ok, "The roles have every privilege that they need.")] : findings
    }

    private func roleExists(_ role: String) async throws(DatabaseError) -> Bool {
        try await !rows("SELECT FROM pg_roles WHERE rolname = $1", [.text(role)]).isEmpty
    }

    /// Where others may create objects, a session without a pinned search_path can be made to run their code; and a trigger
    /// runs with the privileges of the session that writes.
    func creators() async throws(DatabaseError) -> [Finding] {
        let creators = try await rows(
            """
            SELECT coalesce(r.rolname, 'PUBLIC'), n.nspname
            FROM pg_namespace AS n
            CROSS JOIN aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
            LEFT JOIN pg_roles AS r ON r.oid = a.grantee
            WHERE n.nspname IN ('public', 'audit', 'service')
              AND a.privilege_type = 'CREATE'
              AND a.grantee <> n.nspowner
              AND (a.grantee = 0
                   OR r.rolname <> $1
                      AND EXISTS (
                          SELECT
                          FROM pg_roles AS l
                          WHERE l.rolcanlogin AND NOT l.rolsuper AND pg_has_role(l.oid, r.oid, 'MEMBER')))
            ORDER BY 2, 1
            """,
            [.text(roles.owner)]
        ).map { row in
            let role = row[0] ?? ""
            let schema = row[1] ?? ""
            return Finding(
                "creators", schema == "public" ? .warning : .failure,
                """
                \(role) may create objects in schema \(schema), so sessions of this database could be made to run its code: \
                REVOKE CREATE ON SCHEMA \(schema) FROM \(role).
                """)
        }
        let triggers = try await rows(
            """
            SELECT t.tgname, n.nspname || '.' || c.relname, r.rolname
            FROM pg_trigger AS t
            JOIN pg_class AS c ON c.oid = t.tgrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_proc AS p ON p.oid = t.tgfoid
            JOIN pg_roles AS r ON r.oid = p.proowner
            WHERE c.relowner = (SELECT o.oid FROM pg_roles AS o WHERE o.rolname = $1)
              AND NOT t.tgisinternal
              AND p.proowner <> c.relowner
              AND NOT r.rolsuper
            ORDER BY 2, 1
            """,
            [.text(roles.owner)]
        ).map { row in
            Finding(
                "creators", .warning,
                """
                The trigger \(row[0] ?? "") of \(row[1] ?? "") runs a function of \(row[2] ?? "") with the privileges of \
                whichever role writes: check what it does.
                """)
        }
        let findings = creators + triggers
        return findings.isEmpty
            ? [Finding("creators", .ok, "Only the owner creates objects in customerd's schemas.")] : findings
    }
}
