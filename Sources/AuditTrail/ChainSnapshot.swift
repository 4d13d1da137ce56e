import LibPQ

/// The trail at one moment: a transaction that sees one snapshot and changes nothing.
struct ChainSnapshot {
    private let connection: Connection
    private let deadline: ContinuousClock.Instant

    /// Runs `body` on a snapshot.
    ///
    /// - Throws: ``DatabaseError``, or what `body` throws.
    static func read<Value: Sendable>(
        _ connection: Connection, deadline: ContinuousClock.Instant,
        _ body: (ChainSnapshot) async throws -> Value
    ) async throws -> Value {
        // Functions of the catalogue alone: whoever alters a trail could have put others in their way.
        try await connection.script(
            """
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
            SET LOCAL search_path = pg_catalog, pg_temp;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0;
            """,
            deadline: deadline
        )
        do {
            let value = try await body(ChainSnapshot(connection: connection, deadline: deadline))
            try await connection.script("COMMIT", deadline: deadline)
            return value
        } catch {
            try? await connection.script("ROLLBACK", deadline: .now + .seconds(2))
            throw error
        }
    }

    /// What `audit.heads` holds.
    ///
    /// - Parameter app: of one chain; nil for all.
    func heads(of app: UUID?) async throws(DatabaseError) -> [ChainHead] {
        let rows = try await connection.query(
            Statement(
                """
                SELECT h.app_id, h.seq, h.hash
                FROM audit.heads AS h
                WHERE $1::uuid IS NULL OR h.app_id = $1
                ORDER BY h.app_id
                """,
                [.uuid(app)],
                prepared: false
            ),
            deadline: deadline
        ).rows
        return rows.map { ChainHead(appID: $0[0] ?? "", seq: $0.int(1) ?? 0, hash: $0.bytes(2) ?? []) }
    }

    /// Hands over the entries by app and seq, in constant memory.
    ///
    /// - Parameters:
    ///   - app: of one chain; nil for all.
    ///   - starts: by app, after which seq a chain is read, where it isn't from its first entry.
    func entries<State: Sendable>(
        of app: UUID?, after starts: [String: Int] = [:], into state: State,
        _ body: @Sendable (inout State, ChainRow) throws -> Void
    ) async throws -> State {
        var state = state
        for chain in try await chains(app) {
            let statement = Statement(Self.entries, [.uuid(chain), .int(starts[chain.text])], prepared: false)
            state = try await connection.stream(statement, deadline: deadline, into: state) { state, row in
                try body(&state, ChainRow(row))
            }
        }
        return state
    }

    /// The chains that have entries, in order; by the entries, for a head could be missing.
    private func chains(_ app: UUID?) async throws(DatabaseError) -> [UUID] {
        if let app { return [app] }
        let statement = Statement(Self.chains, prepared: false)
        return try await connection.query(statement, deadline: deadline).rows.compactMap { $0.uuid(0) }
    }

    /// A step of the index for each chain, instead of all its entries.
    private static let chains = """
        WITH RECURSIVE chains AS (
            (SELECT e.app_id FROM audit.entries AS e ORDER BY e.app_id LIMIT 1)
            UNION ALL
            SELECT (SELECT e.app_id FROM audit.entries AS e WHERE e.app_id > c.app_id ORDER BY e.app_id LIMIT 1)
            FROM chains AS c
            WHERE c.app_id IS NOT NULL
        )
        SELECT c.app_id FROM chains AS c WHERE c.app_id IS NOT NULL ORDER BY c.app_id
        """

    private static let entries = """
        SELECT e.seq::text,
               e.id::text,
               e.app_id::text,
               trunc(extract(epoch FROM e.occurred_at) * 1000000)::text,
               trunc(extract(epoch FROM e.recorded_at) * 1000000)::text,
               e.action,
               e.outcome,
               e.status_code::text,
               e.customer_id::text,
               e.before_image::text,
               e.actor_key_id::text,
               e.actor_client_key,
               e.actor_name,
               e.actor_role,
               e.actor_claimed,
               e.reason,
               e.ip::text,
               e.user_agent,
               e.request_id,
               e.idempotency_key::text,
               e.request::text,
               e.error_code,
               e.sqlstate,
               e.constraint_name,
               e.referencing_table,
               e.error_message,
               encode(e.previous_hash, 'hex'),
               encode(e.hash, 'hex'),
               encode(e.subject_commitment, 'hex'),
               encode(e.context_commitment, 'hex'),
               encode(e.subject_salt, 'hex'),
               encode(e.context_salt, 'hex')
        FROM audit.entries AS e
        WHERE e.app_id = $1::uuid
          AND ($2::bigint IS NULL OR e.seq > $2)
        ORDER BY e.seq
        """
}
