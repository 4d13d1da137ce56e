public import LibPQ

/// Brings a database to the schema of this binary.
///
/// First, read-only, it refuses what it must not touch. Then it prepares the roles, which belong to the cluster, in a
/// transaction of their own as the migrating role. Then everything else happens in one transaction as the owner. Both
/// transactions hold an advisory lock that ends with them: any number of migrators at once are safe, behind a pooler too,
/// and a failure leaves the schema as it was. The role is set once, as the first statement, because Citus can't change it
/// in the middle of a transaction.
public struct Migrator: Sendable {
    /// The key of the advisory lock: "customer" in ASCII.
    private static let lock: Int64 = 0x6375_7374_6f6d_6572
    /// Where the record is kept of what has been applied; needed before the first file can be.
    private static let record = """
        CREATE SCHEMA IF NOT EXISTS service;
        CREATE TABLE IF NOT EXISTS service.migrations (
            version    int         NOT NULL,
            name       text        NOT NULL,
            checksum   bytea       NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT migrations_pkey PRIMARY KEY (version),
            CONSTRAINT migrations_checksum_is_sha_256 CHECK (octet_length(checksum) = 32)
        );
        COMMENT ON TABLE service.migrations IS 'The files of sql/tables that customerd migrate has applied to this database.';
        COMMENT ON COLUMN service.migrations.version IS 'Number of the file: 1, 2, 3 … Versions 1 to 999 are one major line.';
        COMMENT ON COLUMN service.migrations.name IS 'Path of the file below sql/, without the ending.';
        COMMENT ON COLUMN service.migrations.checksum IS 'SHA-256 of the file; an edited one is refused.';
        COMMENT ON COLUMN service.migrations.applied_at IS 'When it was applied.';
        CREATE TABLE IF NOT EXISTS service.applied_functions (
            name       text        NOT NULL,
            checksum   bytea       NOT NULL,
            applied_at timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT applied_functions_pkey PRIMARY KEY (name),
            CONSTRAINT applied_functions_checksum_is_sha_256 CHECK (octet_length(checksum) = 32)
        );
        COMMENT ON TABLE service.applied_functions IS
            'The files of sql/functions as they were applied last; one is applied again when its text has changed.';
        COMMENT ON COLUMN service.applied_functions.name IS 'Path of the file below sql/, without the ending.';
        COMMENT ON COLUMN service.applied_functions.checksum IS 'SHA-256 of the file.';
        COMMENT ON COLUMN service.applied_functions.applied_at IS 'When it was applied last.';
        """

    private let connection: Connection
    private let roles: DatabaseRoles
    private let schema: Schema

    public init(connection: Connection, roles: DatabaseRoles, schema: Schema = .current) {
        self.connection = connection
        self.roles = roles
        self.schema = schema
    }

    public struct Report: Sendable, Hashable {
        /// The files that were applied now, in order, apart from the grants; empty when there was nothing to do.
        public let applied: [SchemaFile]
        /// The version that the schema has now.
        public let version: Int
        /// Whether the schema is newer than this binary; then nothing was changed.
        public let isNewer: Bool
    }

    /// Applies what is missing.
    public func callAsFunction(deadline: ContinuousClock.Instant) async throws(MigrationError) -> Report {
        var round = 1
        while true {
            do {
                return try await migrate(deadline: deadline)
            } catch {
                // Catalog rows of the cluster are shared with migrators of its other databases.
                guard case .database(let cause) = error, cause.isCatalogRace, round < 20 else { throw error }
                round += 1
                let pause = Duration.milliseconds(Int.random(in: 10...(50 * round)))
                try? await Task.sleep(until: min(.now + pause, deadline))
            }
        }
    }

    private func migrate(deadline: ContinuousClock.Instant) async throws(MigrationError) -> Report {
        let encoding = try await wrapping { () throws(DatabaseError) in
            try await connection.query(
                Statement("SELECT pg_catalog.current_setting('server_encoding')", prepared: false), deadline: deadline
            ).rows.first?[0]
        }
        guard encoding == "UTF8" else { throw .encoding(encoding ?? "an unknown encoding") }
        if let report = try await examine(deadline) { return report }
        let hasNodes = try await wrapping { () throws(DatabaseError) in
            try await connection.isDistributed(deadline: deadline)
        }
        try await transaction(hasNodes ? PrepareNodes.withoutPropagation : "", deadline) { () throws(MigrationError) in
            try await PrepareRoles(roles: roles, connection: connection, deadline: deadline)()
            if hasNodes { try await PrepareNodes(roles: roles, connection: connection, deadline: deadline)() }
        }
        let asOwner = "SET LOCAL ROLE \(roles.owner.quotedIdentifier);"
        return try await transaction(asOwner + (hasNodes ? PrepareNodes.sequentially : ""), deadline) {
            () throws(MigrationError) in
            // Another migrator may have been faster.
            if let report = try await examine(deadline) { return report }
            return try await apply(hasNodes: hasNodes, deadline)
        }
    }

    /// Runs a body in a transaction under the advisory lock, and rolls back when it throws.
    private func transaction<Value: Sendable>(
        _ first: String, _ deadline: ContinuousClock.Instant, _ body: () async throws(MigrationError) -> Value
    ) async throws(MigrationError) -> Value {
        do {
            try await script(
                """
                BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
                SET LOCAL search_path = pg_catalog, pg_temp;
                \(first)
                SET LOCAL statement_timeout = 0;
                SET LOCAL idle_in_transaction_session_timeout = 0;
                SET LOCAL lock_timeout = 0;
                SET LOCAL client_min_messages = warning;
                SET LOCAL standard_conforming_strings = on;
                SELECT pg_catalog.pg_advisory_xact_lock(\(Self.lock));
                -- A session that waits for a table's lock holds up all that come after it.
                SET LOCAL lock_timeout = '10s';
                """, deadline)
            let value = try await body()
            try await script("COMMIT", deadline)
            return value
        } catch {
            try? await connection.script("ROLLBACK", deadline: .now + .seconds(2))
            throw error
        }
    }

    /// Looks at what is there, without running anything of it.
    ///
    /// - Returns: the report where nothing is to be done, because the schema is newer.
    /// - Throws: if the database must not be touched.
    private func examine(_ deadline: ContinuousClock.Instant) async throws(MigrationError) -> Report? {
        let foreign = try await wrapping { () throws(DatabaseError) in
            try await ForeignObjects(owner: roles.owner).names(connection, deadline: deadline)
        }
        guard foreign.isEmpty else { throw .foreign(foreign, owner: roles.owner) }
        let applied = try await appliedSchema(deadline)
        do {
            try applied.check(against: schema)
        } catch {
            throw .schema(error)
        }
        guard applied.version > schema.version else { return nil }
        return Report(applied: [], version: applied.version, isNewer: true)
    }

    private func apply(
        hasNodes: Bool, _ deadline: ContinuousClock.Instant
    ) async throws(MigrationError) -> Report {
        try await script(Self.record, deadline)
        let present = try await appliedSchema(deadline)
        let tables = present.missing(from: schema)
        for file in tables {
            try await apply(
                file, hasNodes: hasNodes, deadline,
                recordedBy: """
                    INSERT INTO service.migrations (version, name, checksum)
                    VALUES ($1, $2, $3)
                    """, [.int(file.version), .text(file.name), .bytes(file.checksum)])
        }
        for file in schema.distribution { try await apply(file, hasNodes: hasNodes, deadline, recordedBy: nil, []) }
        // A tables file may have dropped functions, so all of them are made again after one. So may the distribution,
        // which then notes it.
        let functions = tables.isEmpty ? try await appliedSchema(deadline).outdated(in: schema) : schema.functions
        for file in functions {
            try await apply(
                file, hasNodes: hasNodes, deadline,
                recordedBy: """
                    INSERT INTO service.applied_functions (name, checksum)
                    VALUES ($1, $2)
                    ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = excluded.applied_at
                    """, [.text(file.name), .bytes(file.checksum)])
        }
        for file in schema.grants { try await apply(file, hasNodes: hasNodes, deadline, recordedBy: nil, []) }
        return Report(applied: tables + functions, version: schema.version, isNewer: false)
    }

    private func apply(
        _ file: SchemaFile, hasNodes: Bool, _ deadline: ContinuousClock.Instant, recordedBy record: String?,
        _ parameters: [Parameter]
    ) async throws(MigrationError) {
        do {
            let sql = file.sql(for: roles)
            for part in hasNodes ? SQLScript(sql).statements : [sql] {
                try await connection.script(part, deadline: deadline)
            }
            guard let record else { return }
            _ = try await connection.query(Statement(record, parameters, prepared: false), deadline: deadline)
        } catch {
            guard case .server(let cause) = error, cause.sqlstate != .insufficientPrivilege else { throw .init(error) }
            // A migrator of another database of the cluster interfered: try again.
            guard cause.sqlstate == .duplicateObject || !error.isCatalogRace else { throw .database(error) }
            throw .failed(name: file.name, cause)
        }
    }

    private func appliedSchema(_ deadline: ContinuousClock.Instant) async throws(MigrationError) -> AppliedSchema {
        try await wrapping { () throws(DatabaseError) in try await AppliedSchema(connection, deadline: deadline) }
    }

    private func script(_ sql: String, _ deadline: ContinuousClock.Instant) async throws(MigrationError) {
        try await wrapping { () throws(DatabaseError) in try await connection.script(sql, deadline: deadline) }
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

/// What others have put where only the owner's objects belong. The migrator would run it with its own privileges.
struct ForeignObjects: Sendable {
    let owner: String

    /// - Returns: kind, name and owner of each; empty in a database that is safe to migrate.
    func names(_ connection: Connection, deadline: ContinuousClock.Instant) async throws(DatabaseError) -> [String] {
        // Every name and operator is qualified: this runs before anything else, in whatever search_path.
        try await connection.query(
            Statement(
                """
                SELECT pg_catalog.format('%s %s of %s', o.kind, o.name, pg_catalog.pg_get_userbyid(o.owner))
                FROM (
                    SELECT 'schema', n.nspname::pg_catalog.text, n.nspowner
                    FROM pg_catalog.pg_namespace AS n
                    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{audit,service}'::pg_catalog.name[])
                    UNION ALL
                    SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'v' THEN 'view' ELSE 'table' END,
                           pg_catalog.format('%s.%s', n.nspname, c.relname), c.relowner
                    FROM pg_catalog.pg_class AS c
                    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{audit,service}'::pg_catalog.name[])
                       OR n.nspname OPERATOR(pg_catalog.=) 'public'
                          AND c.relname OPERATOR(pg_catalog.=) ANY (
                              '{customers,invoices,payment_links,transactions,liquidation_addresses,legal_holds}'::pg_catalog.name[])
                    UNION ALL
                    SELECT 'function', pg_catalog.format('%s.%s', n.nspname, p.proname), p.proowner
                    FROM pg_catalog.pg_proc AS p
                    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
                    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{audit,service}'::pg_catalog.name[])
                    UNION ALL
                    SELECT 'type', pg_catalog.format('%s.%s', n.nspname, t.typname), t.typowner
                    FROM pg_catalog.pg_type AS t
                    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace
                    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{audit,service}'::pg_catalog.name[])
                    UNION ALL
                    SELECT 'operator', pg_catalog.format('%s.%s', n.nspname, r.oprname), r.oprowner
                    FROM pg_catalog.pg_operator AS r
                    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.oprnamespace
                    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{audit,service}'::pg_catalog.name[])
                    UNION ALL
                    SELECT 'trigger', pg_catalog.format('%s of %s.%s', t.tgname, n.nspname, c.relname), p.proowner
                    FROM pg_catalog.pg_trigger AS t
                    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
                    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
                    WHERE n.nspname OPERATOR(pg_catalog.=) ANY ('{audit,service}'::pg_catalog.name[])
                      AND NOT t.tgisinternal
                      AND NOT EXISTS (
                          SELECT
                          FROM pg_catalog.pg_roles AS r
                          WHERE r.oid OPERATOR(pg_catalog.=) p.proowner AND r.rolsuper)
                ) AS o (kind, name, owner)
                WHERE pg_catalog.pg_get_userbyid(o.owner) OPERATOR(pg_catalog.<>) $1::pg_catalog.name
                ORDER BY 1
                """,
                [.text(owner)],
                prepared: false
            ),
            deadline: deadline
        ).rows.compactMap { $0[0] }
    }
}

/// Why the schema wasn't migrated. It is as it was before.
public enum MigrationError: Error, Sendable, Hashable {
    case schema(SchemaMismatch)
    /// The database isn't encoded in UTF-8, so it couldn't hold every name.
    case encoding(String)
    /// Other roles have objects in customerd's schemas.
    case foreign([String], owner: String)
    /// The migrating role lacks a privilege; the server says which.
    case insufficientPrivilege(ServerError)
    /// The migrating role can't grant what the roles need.
    case cannotGrant([String])
    /// A file failed.
    case failed(name: String, ServerError)
    case database(DatabaseError)

    init(_ error: DatabaseError) {
        if case .server(let error) = error, error.sqlstate == .insufficientPrivilege {
            self = .insufficientPrivilege(error)
        } else {
            self = .database(error)
        }
    }
}

extension MigrationError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .schema(let mismatch):
            "\(mismatch)"
        case .encoding(let encoding):
            """
            The database is encoded in \(encoding) and can't hold every name; create it with \
            CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'.
            """
        case .foreign(let objects, let owner):
            """
            Objects in customerd's schemas don't belong to \(owner), so nothing was run or changed: \
            \(objects.prefix(5).joined(separator: ", "))\(objects.count > 5 ? " and \(objects.count - 5) more" : ""). \
            Drop them or give them to \(owner) (ALTER … OWNER TO), and check CUSTOMERD_ROLE_PREFIX.
            """
        case .insufficientPrivilege(let error):
            """
            The migrating role lacks a privilege (\(error.message)): it must be a superuser, or own the database and \
            have CREATEROLE.
            """
        case .cannotGrant(let statements):
            """
            The roles need privileges on schema public that the migrating role can't grant. As a superuser, run: \
            \(statements.joined(separator: "; ")).
            """
        case .failed(let name, let error):
            "\(name).sql failed: \(error)"
        case .database(let error):
            "\(error)"
        }
    }
}
