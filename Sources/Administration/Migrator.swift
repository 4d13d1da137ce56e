public import LibPQ

/// Brings a database to the schema of this binary.
///
/// The roles come first, since they belong to the cluster. Then everything happens in one transaction under an
/// advisory lock that ends with it: any number of migrators at once are safe, behind a pooler too, and a failure leaves
/// the database as it was.
public struct Migrator: Sendable {
    /// The key of the advisory lock: "customer" in ASCII.
    private static let lock: Int64 = 0x6375_7374_6f6d_6572
    /// Default settings of the service's role. They are set where nothing else is, so an operator's own choice stays.
    private static let defaults = [
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // A session that waits for the rest of a trip isn't idle; when the machine of its client is dead, it has to let
        // go of the attempt within 20 s.
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
        ("search_path", "public"),
        // One statement alone is a transaction too, and the protocol is written for this level.
        ("default_transaction_isolation", "read committed"),
    ]

    private let connection: Connection
    private let roles: DatabaseRoles
    private let migrations: [Migration]

    public init(connection: Connection, roles: DatabaseRoles, migrations: [Migration] = Migration.all) {
        self.connection = connection
        self.roles = roles
        self.migrations = migrations
    }

    public struct Report: Sendable, Hashable {
        /// What was applied now, in order; empty when there was nothing to do.
        public let applied: [Migration]
        /// The version that the schema has now.
        public let version: Int
    }

    /// Applies what is missing.
    public func callAsFunction(deadline: ContinuousClock.Instant) async throws(MigrationError) -> Report {
        var round = 1
        while true {
            do {
                return try await migrate(deadline: deadline)
            } catch {
                // Catalogue rows of the cluster are shared with migrators of its other databases.
                guard case .database(let cause) = error, cause.isCatalogueRace, round < 20 else { throw error }
                round += 1
                await Backoff.pause(round: round, until: deadline)
            }
        }
    }

    private func migrate(deadline: ContinuousClock.Instant) async throws(MigrationError) -> Report {
        let encoding = try await wrapping { () throws(DatabaseError) in
            try await connection.query(
                Statement("SELECT current_setting('server_encoding')", prepared: false), deadline: deadline
            ).rows.first?[0]
        }
        guard encoding == "UTF8" else { throw .encoding(encoding ?? "an unknown way") }
        try await wrapping { () throws(DatabaseError) in
            try await CreateRoles(roles: roles)(connection, deadline: deadline)
            try await begin(deadline: deadline)
        }
        do {
            let applied = try await applyMissing(deadline: deadline)
            try await wrapping { () throws(DatabaseError) in
                try await connection.script("COMMIT", deadline: deadline)
            }
            return Report(applied: applied, version: migrations.last?.version ?? 0)
        } catch {
            try? await connection.script("ROLLBACK", deadline: .now + .seconds(2))
            throw error
        }
    }

    private func begin(deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        try await connection.script(
            """
            BEGIN ISOLATION LEVEL READ COMMITTED;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0;
            SET LOCAL lock_timeout = 0;
            SET LOCAL client_min_messages = warning;
            SELECT pg_catalog.pg_advisory_xact_lock(\(Self.lock));
            -- Whoever waits for a table's lock holds up everybody who comes after it.
            SET LOCAL lock_timeout = '10s';
            SET LOCAL search_path = pg_catalog, pg_temp;
            """,
            deadline: deadline
        )
    }

    private func applyMissing(deadline: ContinuousClock.Instant) async throws(MigrationError) -> [Migration] {
        let missing = try await missing(deadline: deadline)
        if !missing.isEmpty {
            try await wrapping { () throws(DatabaseError) in try await prepare(deadline: deadline) }
        }
        for migration in missing { try await apply(migration, deadline: deadline) }
        try await wrapping { () throws(DatabaseError) in try await setDefaults(deadline: deadline) }
        return missing
    }

    private func missing(deadline: ContinuousClock.Instant) async throws(MigrationError) -> [Migration] {
        let applied: [AppliedMigration]
        do {
            applied = try await AppliedMigration.all(connection, deadline: deadline)
        } catch {
            throw .init(error)
        }
        if let edited = applied.first(where: { $0.differs(from: migrations) }) { throw .edited(name: edited.name) }
        let known = migrations.last?.version ?? 0
        if let last = applied.last, last.version > known { throw .newer(version: last.version, known: known) }
        return migrations.filter { migration in !applied.contains { $0.version == migration.version } }
    }

    /// Lets the owner make its objects here, and goes on as the owner.
    private func prepare(deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        let owner = roles.owner.quotedIdentifier
        let rights = try await connection.query(
            Statement(
                """
                SELECT current_database(),
                       has_database_privilege($1, current_database(), 'CREATE'),
                       has_schema_privilege($1, 'public', 'CREATE') AND has_schema_privilege($1, 'public', 'USAGE'),
                       has_database_privilege($2, current_database(), 'CONNECT')
                       AND has_database_privilege($3, current_database(), 'CONNECT')
                """,
                [.text(roles.owner), .text(roles.service), .text(roles.auditor)],
                prepared: false
            ),
            deadline: deadline
        ).rows[0]
        let database = (rights[0] ?? "").quotedIdentifier
        if rights.bool(1) != true {
            try await connection.script("GRANT CREATE ON DATABASE \(database) TO \(owner)", deadline: deadline)
        }
        if rights.bool(2) != true {
            try await connection.script("GRANT CREATE, USAGE ON SCHEMA public TO \(owner)", deadline: deadline)
        }
        if rights.bool(3) != true {
            let readers = "\(roles.service.quotedIdentifier), \(roles.auditor.quotedIdentifier)"
            try await connection.script("GRANT CONNECT ON DATABASE \(database) TO \(readers)", deadline: deadline)
        }
        try await connection.script("SET LOCAL ROLE \(owner)", deadline: deadline)
        try await connection.script(
            """
            CREATE SCHEMA IF NOT EXISTS service;
            CREATE TABLE IF NOT EXISTS service.migrations (
                version    int         NOT NULL,
                name       text        NOT NULL,
                checksum   bytea       NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now(),
                CONSTRAINT migrations_pkey PRIMARY KEY (version),
                CONSTRAINT migrations_checksum_is_sha_256 CHECK (octet_length(checksum) = 32)
            );
            COMMENT ON TABLE service.migrations IS 'What customerd migrate has applied to this database.';
            COMMENT ON COLUMN service.migrations.version IS 'Number of the file in sql/migrations: 1, 2, 3 …';
            COMMENT ON COLUMN service.migrations.name IS 'Its name without the ending.';
            COMMENT ON COLUMN service.migrations.checksum IS 'SHA-256 of the file; an edited one is refused.';
            COMMENT ON COLUMN service.migrations.applied_at IS 'When it was applied.';
            """,
            deadline: deadline
        )
    }

    private func apply(_ migration: Migration, deadline: ContinuousClock.Instant) async throws(MigrationError) {
        do {
            try await connection.script(migration.sql(for: roles), deadline: deadline)
            _ = try await connection.query(
                Statement(
                    """
                    INSERT INTO service.migrations (version, name, checksum)
                    VALUES ($1, $2, $3)
                    """,
                    [.int(migration.version), .text(migration.name), .bytes(migration.checksum)],
                    prepared: false
                ),
                deadline: deadline
            )
        } catch {
            guard case .server(let cause) = error, cause.sqlstate != .insufficientPrivilege else { throw .init(error) }
            // Another database of the cluster is at it as well: worth another try.
            guard cause.sqlstate == .duplicateObject || !error.isCatalogueRace else { throw .database(error) }
            throw .failed(name: migration.name, cause)
        }
    }

    /// By ALTER ROLE rather than start parameters, which a pooler would drop.
    private func setDefaults(deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        try await connection.script("RESET ROLE", deadline: deadline)
        let row = try await connection.query(
            Statement(
                """
                SELECT current_database(),
                       array_to_json(array(
                           SELECT split_part(setting, '=', 1)
                           FROM pg_db_role_setting AS s
                           CROSS JOIN unnest(s.setconfig) AS setting
                           WHERE s.setrole = $1::regrole
                             AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))))
                """,
                [.text(roles.service.quotedIdentifier)],
                prepared: false
            ),
            deadline: deadline
        ).rows[0]
        let database = (row[0] ?? "").quotedIdentifier
        let present = row[1] ?? ""
        for (name, value) in Self.defaults where !present.contains("\"\(name)\"") {
            try await connection.script(
                "ALTER ROLE \(roles.service.quotedIdentifier) IN DATABASE \(database) SET \(name) = '\(value)'",
                deadline: deadline
            )
        }
    }

    private func wrapping<Value>(
        _ body: () async throws(DatabaseError) -> Value
    ) async throws(MigrationError) -> Value {
        do {
            return try await body()
        } catch {
            throw .init(error)
        }
    }
}

extension MigrationError {
    init(_ error: DatabaseError) {
        if case .server(let error) = error, error.sqlstate == .insufficientPrivilege {
            self = .insufficientPrivilege(error)
        } else {
            self = .database(error)
        }
    }
}
