public import LibPQ

/// Looks whether a database keeps what the service promises on its behalf. It changes nothing.
public struct Doctor: Sendable {
    let connection: Connection
    let roles: DatabaseRoles
    let deadline: ContinuousClock.Instant

    /// - Parameters:
    ///   - connection: a session of any role that may read `service.migrations`; replication shows to superusers and
    ///     members of `pg_monitor` only.
    ///   - roles: the roles that there ought to be.
    public init(connection: Connection, roles: DatabaseRoles, deadline: ContinuousClock.Instant) {
        self.connection = connection
        self.roles = roles
        self.deadline = deadline
    }

    /// - Returns: at least one finding for every check, in a fixed order.
    /// - Throws: when the database can't be reached any more; a check that fails otherwise is a finding.
    public func callAsFunction() async throws(DatabaseError) -> [Finding] {
        var findings: [Finding] = []
        findings += try await examine("database", server)
        findings += try await examine("encoding", encoding)
        findings += try await examine("schema", schema)
        findings += try await examine("roles", existingRoles)
        findings += try await examine("grants", grants)
        findings += try await examine("trail", trailTriggers)
        findings += try await examine("references", references)
        findings += try await examine("triggers", customerTriggers)
        findings += try await examine("durability", durability)
        findings += try await examine("replication", replication)
        findings += try await examine("clock", clock)
        return findings
    }

    private func examine(
        _ check: String, _ body: () async throws(DatabaseError) -> [Finding]
    ) async throws(DatabaseError) -> [Finding] {
        do {
            return try await body()
        } catch {
            guard case .server(let error) = error else { throw error }
            return [Finding(check, .failure, "This couldn't be checked: \(error.message).")]
        }
    }

    func rows(_ sql: String, _ parameters: [Parameter] = []) async throws(DatabaseError) -> [Row] {
        try await connection.query(Statement(sql, parameters, prepared: false), deadline: deadline).rows
    }

    func setting(_ name: String) async throws(DatabaseError) -> String {
        try await rows("SELECT current_setting($1)", [.text(name)]).first?[0] ?? ""
    }

    /// Whether a table is there; without the schema most checks have nothing to look at.
    func exists(_ table: String) async throws(DatabaseError) -> Bool {
        try await rows("SELECT to_regclass($1) IS NOT NULL", [.text(table)]).first?.bool(0) == true
    }
}

extension Doctor {
    // MARK: - The server

    private func server() async throws(DatabaseError) -> [Finding] {
        let version = try await setting("server_version")
        let number = Int(try await setting("server_version_num")) ?? 0
        return [
            number >= 140_000
                ? Finding("database", .ok, "PostgreSQL \(version) answers.")
                : Finding("database", .failure, "PostgreSQL \(version) is too old: version 14 or later is needed.")
        ]
    }

    private func encoding() async throws(DatabaseError) -> [Finding] {
        let encoding = try await setting("server_encoding")
        return [
            encoding == "UTF8"
                ? Finding("encoding", .ok, "The database is encoded in UTF8.")
                : Finding(
                    "encoding", .failure,
                    "The database is encoded in \(encoding), which can't hold every name: it must be UTF8.")
        ]
    }

    private func schema() async throws(DatabaseError) -> [Finding] {
        do {
            try await Schema.check(connection, deadline: deadline)
            return [Finding("schema", .ok, "The schema is at version \(Schema.version), as this customerd needs it.")]
        } catch {
            if case .database(let error) = error { throw error }
            return [Finding("schema", .failure, "\(error)")]
        }
    }

    private func durability() async throws(DatabaseError) -> [Finding] {
        var findings: [Finding] = []
        for name in ["fsync", "full_page_writes"] where try await setting(name) == "off" {
            findings.append(
                Finding("durability", .failure, "\(name) is off: a crash of the machine can lose or corrupt the trail.")
            )
        }
        if try await setting("synchronous_commit") == "off" {
            findings.append(
                Finding(
                    "durability", .warning,
                    """
                    synchronous_commit is off by default: the service turns it on for what it answers for, but other \
                    clients' commits may be lost in a crash.
                    """))
        }
        return findings.isEmpty ? [Finding("durability", .ok, "What is committed survives a crash.")] : findings
    }

    private func replication() async throws(DatabaseError) -> [Finding] {
        let standbys = try await rows(
            """
            SELECT application_name
            FROM pg_catalog.pg_stat_replication
            WHERE coalesce(sync_state, 'async') = 'async'
            ORDER BY application_name
            """
        ).map { $0[0] ?? "" }
        guard !standbys.isEmpty else { return [Finding("replication", .ok, "There is no asynchronous standby.")] }
        return [
            Finding(
                "replication", .warning,
                """
                A standby follows asynchronously (\(standbys.joined(separator: ", "))): a failover to it may lose the \
                last deletions together with their entries.
                """)
        ]
    }

    private func clock() async throws(DatabaseError) -> [Finding] {
        let before = Timestamp.now().microseconds
        let there = try await rows(
            "SELECT trunc(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        ).first?.int(0)
        let after = Timestamp.now().microseconds
        let skew = Double(Int64(there ?? 0) - (before + after) / 2) / 1_000_000
        guard abs(skew) > 2 else { return [Finding("clock", .ok, "The clocks of database and machine agree.")] }
        let direction = skew > 0 ? "ahead of" : "behind"
        return [
            Finding(
                "clock", .warning,
                "The database's clock is \(Int(abs(skew).rounded())) seconds \(direction) this machine's.")
        ]
    }
}
