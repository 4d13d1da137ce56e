import LibPQ

/// The three roles of the database. Roles belong to the cluster, so their names share a prefix that can be set.
public struct DatabaseRoles: Sendable, Hashable {
    /// What their names begin with.
    public let prefix: String

    /// - Parameter prefix: at most 41 lower-case letters, digits and underscores, no digit first; nil otherwise.
    public init?(prefix: String) {
        guard prefix.wholeMatch(of: /[a-z_][a-z0-9_]{0,40}/) != nil else { return nil }
        self.prefix = prefix
    }

    /// Owns every object of the schema. It can't log in.
    public var owner: String { "\(prefix)_owner" }
    /// The role with which `serve` connects.
    public var service: String { "\(prefix)_service" }
    /// Reads the audit trail and nothing else.
    public var auditor: String { "\(prefix)_auditor" }

    /// The variables of the files in `sql/`.
    var variables: [(name: String, role: String)] {
        [("owner", owner), ("service", service), ("auditor", auditor)]
    }
}

extension String {
    /// As an identifier in SQL. Source: PostgreSQL manual, "Identifiers and Key Words".
    var quotedIdentifier: String {
        "\"" + replacing("\"", with: "\"\"") + "\""
    }
}

/// Makes the roles that the cluster lacks, and gives them what only the migrating role can give: the right to connect, to
/// create objects, to use schema public, and default settings. What they have already isn't touched.
///
/// To be run inside a transaction with a pinned search_path.
struct PrepareRoles: Sendable {
    /// Default settings of the service's role. They are set only where nothing else is, so an operator's choice stays.
    private static let defaults = [
        ("statement_timeout", "'15s'"),
        ("lock_timeout", "'5s'"),
        ("idle_in_transaction_session_timeout", "'30s'"),
        // A session that waits for the rest of a trip isn't idle; when its client's machine has died, it must release the
        // attempt within 20 s.
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("search_path", "pg_catalog, pg_temp"),
        // A single statement is a transaction too, and the protocol is written for this level.
        ("default_transaction_isolation", "'read committed'"),
        // A session keeps its plans. One that is made while a table is tiny reads the whole table, and still does when
        // that has grown, until the table is analyzed. All that the service looks up has an index. What has none is
        // read in sequence all the same, at a cost so high that it would be compiled first.
        ("enable_seqscan", "off"),
        ("jit", "off"),
        // What decides how values are read and printed.
        ("bytea_output", "'hex'"),
        ("datestyle", "'ISO, MDY'"),
        ("intervalstyle", "'postgres'"),
        ("standard_conforming_strings", "on"),
    ]

    let roles: DatabaseRoles
    let connection: Connection
    let deadline: ContinuousClock.Instant

    func callAsFunction() async throws(MigrationError) {
        do {
            try await create()
            try await joinOwner()
            try await grantOnDatabase()
            try await grantOnLanguages()
            try await grantOnPublic()
            try await letOwnerCount()
            try await setDefaults()
        } catch {
            throw .init(error)
        }
        try await checkPublic()
    }

    private func rows(_ sql: String, _ parameters: [Parameter] = []) async throws(DatabaseError) -> [Row] {
        try await connection.query(Statement(sql, parameters, prepared: false), deadline: deadline).rows
    }

    /// Another database of the cluster may be creating them at this moment. Advisory locks don't reach across databases:
    /// the migrator runs a lost race again.
    private func create() async throws(DatabaseError) {
        let wanted = [(roles.owner, "NOLOGIN"), (roles.service, "LOGIN"), (roles.auditor, "LOGIN")]
        let existing = try await rows(
            """
            SELECT rolname
            FROM pg_catalog.pg_roles
            WHERE rolname = ANY ($1::name[])
            """,
            [.array(wanted.map(\.0))]
        ).compactMap { $0[0] }
        for (role, login) in wanted where !existing.contains(role) {
            try await connection.script("CREATE ROLE \(role.quotedIdentifier) \(login)", deadline: deadline)
        }
    }

    /// Since version 16, the creator of a role may administer it, but neither has its privileges nor can become it.
    private func joinOwner() async throws(DatabaseError) {
        let version = try await rows("SELECT current_setting('server_version_num')").first?.int(0) ?? 0
        let distinguishes = version >= 160_000
        let isMember = try await rows(
            "SELECT pg_has_role($1, 'USAGE') AND pg_has_role($1, $2)",
            [.text(roles.owner), distinguishes ? "SET" : "MEMBER"]
        ).first?.bool(0)
        guard isMember != true else { return }
        let options = distinguishes ? " WITH INHERIT TRUE, SET TRUE" : ""
        try await connection.script(
            "GRANT \(roles.owner.quotedIdentifier) TO CURRENT_USER\(options)", deadline: deadline)
    }

    private func grantOnDatabase() async throws(DatabaseError) {
        let row = try await rows(
            """
            SELECT current_database(),
                   has_database_privilege($1, current_database(), 'CREATE'),
                   has_database_privilege($2, current_database(), 'CONNECT')
                   AND has_database_privilege($3, current_database(), 'CONNECT')
            """,
            [.text(roles.owner), .text(roles.service), .text(roles.auditor)]
        ).first
        let database = (row?[0] ?? "").quotedIdentifier
        if row?.bool(1) != true {
            let owner = roles.owner.quotedIdentifier
            try await connection.script("GRANT CREATE ON DATABASE \(database) TO \(owner)", deadline: deadline)
        }
        if row?.bool(2) != true {
            let readers = "\(roles.service.quotedIdentifier), \(roles.auditor.quotedIdentifier)"
            try await connection.script("GRANT CONNECT ON DATABASE \(database) TO \(readers)", deadline: deadline)
        }
    }

    /// A hardened database may have taken the languages from PUBLIC.
    private func grantOnLanguages() async throws(DatabaseError) {
        let missing = try await rows(
            """
            SELECT l.lanname
            FROM pg_language AS l
            WHERE l.lanname IN ('sql', 'plpgsql') AND NOT has_language_privilege($1, l.oid, 'USAGE')
            """,
            [.text(roles.owner)]
        ).compactMap { $0[0] }
        for language in missing {
            let owner = roles.owner.quotedIdentifier
            try await connection.script("GRANT USAGE ON LANGUAGE \(language) TO \(owner)", deadline: deadline)
        }
    }

    /// By name, so that the roles don't depend on what PUBLIC has, which hardened databases take away. Where the migrating
    /// role may not grant on the schema, what PUBLIC has may still suffice: ``checkPublic()`` decides.
    private func grantOnPublic() async throws(DatabaseError) {
        let missing = try await rows(
            """
            SELECT format('GRANT %s ON SCHEMA public TO %I', w.privilege, w.role)
            FROM unnest($1::text[], $2::text[]) AS w (role, privilege)
            WHERE NOT EXISTS (
                SELECT
                FROM pg_namespace AS n
                CROSS JOIN aclexplode(n.nspacl) AS a
                JOIN pg_roles AS r ON r.oid = a.grantee
                WHERE n.nspname = 'public' AND r.rolname = w.role AND a.privilege_type = w.privilege)
            """,
            [.array([roles.owner, roles.owner, roles.service]), .array(["CREATE", "USAGE", "USAGE"])]
        ).compactMap { $0[0] }
        guard !missing.isEmpty else { return }
        try await connection.script(
            """
            DO $grant$
            BEGIN
                \(missing.joined(separator: ";\n    "));
            EXCEPTION WHEN insufficient_privilege THEN
                NULL;
            END
            $grant$
            """,
            deadline: deadline
        )
    }

    private func checkPublic() async throws(MigrationError) {
        let missing: [String]
        do {
            missing = try await rows(
                """
                SELECT format('GRANT %s ON SCHEMA public TO %I', w.privilege, w.role)
                FROM unnest($1::text[], $2::text[]) AS w (role, privilege)
                WHERE NOT has_schema_privilege(w.role, 'public', w.privilege)
                """,
                [.array([roles.owner, roles.owner, roles.service]), .array(["CREATE", "USAGE", "USAGE"])]
            ).compactMap { $0[0] }
        } catch {
            throw .init(error)
        }
        guard missing.isEmpty else { throw .cannotGrant(missing) }
    }

    /// The deletion-check counts rows of tables that others add later and own. A superuser can let the owner read them;
    /// failing that, at least what the migrating role adds can be read.
    private func letOwnerCount() async throws(DatabaseError) {
        let canRead = try await rows(
            "SELECT pg_has_role($1, 'pg_read_all_data', 'USAGE')", [.text(roles.owner)]
        ).first?.bool(0)
        guard canRead != true else { return }
        let owner = roles.owner.quotedIdentifier
        try await connection.script(
            """
            DO $grant$
            BEGIN
                GRANT pg_read_all_data TO \(owner);
            EXCEPTION WHEN insufficient_privilege THEN
                ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO \(owner);
            END
            $grant$
            """,
            deadline: deadline
        )
    }

    /// By ALTER ROLE rather than start parameters, which a pooler would drop.
    private func setDefaults() async throws(DatabaseError) {
        let database: String = try await connection.query(
            Statement("SELECT current_database() AS name", prepared: false), deadline: deadline
        ).row().get("name")
        let given = try await RoleSetting.all(connection, deadline: deadline).filter { $0.role == roles.service }
        for (name, value) in Self.defaults where !given.contains(where: { $0.name == name }) {
            try await connection.script(
                "ALTER ROLE \(roles.service.quotedIdentifier) IN DATABASE \(database.quotedIdentifier) "
                    + "SET \(name) = \(value)",
                deadline: deadline
            )
        }
    }
}

/// A setting that ALTER ROLE or ALTER DATABASE gives to sessions of this database.
struct RoleSetting: Sendable {
    /// nil: all roles.
    let role: String?
    /// In lower case.
    let name: String
    let value: String

    /// All of them; of two for the same sessions, the one that prevails comes first.
    static func all(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [RoleSetting] {
        let found = try await connection.query(
            Statement(
                """
                SELECT r.rolname AS role, lower(split_part(o.option, '=', 1)) AS name,
                       substr(o.option, position('=' IN o.option) + 1) AS value
                FROM pg_db_role_setting AS s
                CROSS JOIN unnest(s.setconfig) AS o (option)
                LEFT JOIN pg_roles AS r ON r.oid = s.setrole
                WHERE s.setdatabase IN (0, (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()))
                ORDER BY s.setrole = 0, s.setdatabase = 0
                """, prepared: false), deadline: deadline)
        var settings: [RoleSetting] = []
        for row in found.rows {
            settings.append(RoleSetting(role: row["role"], name: try row.get("name"), value: try row.get("value")))
        }
        return settings
    }
}

extension DatabaseError {
    /// Another session made or changed the same object of the cluster at the same moment.
    var isCatalogRace: Bool {
        guard case .server(let error) = self else { return false }
        switch error.sqlstate {
        case .duplicateObject: return true
        case .uniqueViolation: return error.schema == "pg_catalog"
        case "XX000": return error.message.contains("tuple concurrently")
        default: return isRetryable
        }
    }
}
