import LibPQ

/// What a database that Citus distributes needs before the schema is made: on every node the roles that the migrating
/// node has, with what they may do and their settings, since Citus hands on only what it has seen being made.
///
/// To be run inside the transaction that makes the roles, with ``withoutPropagation`` before it, as a superuser on the
/// coordinator.
struct PrepareNodes: Sendable {
    /// Keeps Citus from making the roles on the other nodes, in sessions of which this one would wait for another.
    static let withoutPropagation = "SET LOCAL citus.enable_ddl_propagation = off;"
    /// One session to each node: in several, a statement would wait for what the one before it has made.
    static let sequentially = "SET LOCAL citus.multi_shard_modify_mode = 'sequential';"

    let roles: DatabaseRoles
    let connection: Connection
    let deadline: ContinuousClock.Instant

    func callAsFunction() async throws(MigrationError) {
        do throws(DatabaseError) {
            let statements = try await statements()
            try await connection.script(Self.block(statements), deadline: deadline)
            let refusals = try await connection.query(
                Statement(
                    """
                    SELECT format('%s:%s: %s', w.nodename, w.nodeport, w.result)
                    FROM run_command_on_workers($1::text) AS w
                    WHERE NOT w.success
                    """, [.text(Self.block(statements))], prepared: false), deadline: deadline)
            if let refusal = refusals.rows.first?[0] {
                throw DatabaseError.unavailable("a node couldn't be prepared: \(refusal)")
            }
            try await know()
        } catch {
            throw .init(error)
        }
    }

    private static func block(_ statements: [String]) -> String {
        """
        DO $nodes$
        BEGIN
            PERFORM pg_catalog.set_config('citus.enable_ddl_propagation', 'off', true);
            \(statements.joined(separator: "\n    "))
        END
        $nodes$
        """
    }

    /// All may be run again. The nodes talk to each other as the role of the session, so the owner logs in, too.
    private func statements() async throws(DatabaseError) -> [String] {
        let (owner, service) = (roles.owner.quotedIdentifier, roles.service.quotedIdentifier)
        let row = try await connection.query(
            Statement(
                """
                SELECT current_database(),
                       (SELECT string_agg(format('ALTER ROLE %I IN DATABASE %I SET %s;', $1::text, current_database(),
                                                 CASE split_part(c, '=', 1) WHEN 'search_path' THEN replace(c, '=', ' = ')
                                                      ELSE format('%s = %L', split_part(c, '=', 1),
                                                                  substring(c FROM position('=' IN c) + 1)) END), ' ')
                        FROM pg_db_role_setting AS s
                        CROSS JOIN unnest(s.setconfig) AS c
                        JOIN pg_database AS d ON d.oid = s.setdatabase AND d.datname = current_database()
                        WHERE s.setrole = $2::text::regrole)
                """, [.text(roles.service), .text(service)], prepared: false), deadline: deadline
        ).row()
        let database = (row[0] ?? "").quotedIdentifier
        var statements = [roles.owner, roles.service, roles.auditor].map { role in
            """
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = '\(role)') THEN \
            CREATE ROLE \(role.quotedIdentifier) LOGIN; END IF;
            """
        }
        statements += [
            """
            IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE r.rolname = '\(roles.owner)' AND r.rolcanlogin) THEN \
            ALTER ROLE \(owner) LOGIN; END IF;
            """,
            "GRANT CREATE ON DATABASE \(database) TO \(owner);",
            "GRANT CONNECT ON DATABASE \(database) TO \(service), \(roles.auditor.quotedIdentifier);",
            "GRANT CREATE, USAGE ON SCHEMA public TO \(owner);",
            "GRANT USAGE ON SCHEMA public TO \(service);",
            """
            IF NOT pg_catalog.pg_has_role('\(roles.owner)', 'pg_read_all_data', 'MEMBER') THEN \
            GRANT pg_read_all_data TO \(owner); END IF;
            """,
        ]
        if let settings = row[1] { statements.append(settings) }
        // A statement about an app's rows calls functions that read and write others of the app's, on the same node.
        for role in [owner, service] {
            statements.append(
                "ALTER ROLE \(role) IN DATABASE \(database) SET citus.allow_nested_distributed_execution = on;")
        }
        return statements
    }

    /// What is on every node by now needn't be made there when something depends on it: the roles, and the collation that
    /// tables/0001_customers.sql takes, which every server brings.
    private func know() async throws(DatabaseError) {
        _ = try await connection.query(
            Statement(
                """
                INSERT INTO pg_dist_object (classid, objid, objsubid)
                SELECT 'pg_authid'::regclass, r.oid, 0
                FROM pg_roles AS r
                WHERE r.rolname = ANY ($1::name[])
                UNION ALL
                SELECT 'pg_collation'::regclass, c.oid, 0
                FROM pg_collation AS c
                WHERE c.collnamespace = 'pg_catalog'::regnamespace
                  AND c.collname IN ('und-x-icu', 'pg_unicode_fast', 'pg_c_utf8', 'C.utf8', 'C.UTF-8', 'en_US.utf8', 'en_US')
                ON CONFLICT DO NOTHING
                """, [.array([roles.owner, roles.service, roles.auditor])], prepared: false), deadline: deadline)
    }
}
