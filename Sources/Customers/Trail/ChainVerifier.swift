public import Foundation
public import LibPQ

/// Proves that the trail is what was written: recomputes every commitment and every hash from the columns, here and not
/// in the database, which whoever alters a trail has in hand.
///
/// It reads one snapshot, row by row, in memory that grows with the number of chains only. It can't see a chain that
/// was cut or rewritten together with its head; that takes a checkpoint kept outside.
///
/// Source: docs/audit-chain.md.
public struct ChainVerifier: Sendable {
    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Parameter app: the chain to verify, the zero UUID for that of strangers; nil for all.
    public func callAsFunction(
        app: UUID?, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ChainVerdict {
        try await connection.script(
            """
            BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0;
            """,
            deadline: deadline
        )
        do {
            var walk = ChainWalk(heads: try await heads(of: app, deadline: deadline))
            walk = try await entries(of: app, into: walk, deadline: deadline)
            try await connection.script("COMMIT", deadline: deadline)
            return walk.finish()
        } catch {
            try? await connection.script("ROLLBACK", deadline: .now + .seconds(2))
            throw error
        }
    }

    private func heads(
        of app: UUID?, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [String: ChainWalk.Head] {
        let rows = try await connection.query(
            Statement(
                """
                SELECT h.app_id, h.seq, h.hash
                FROM audit.heads AS h
                WHERE $1::uuid IS NULL OR h.app_id = $1
                """,
                [.uuid(app)],
                prepared: false
            ),
            deadline: deadline
        ).rows
        return rows.reduce(into: [:]) { heads, row in
            heads[row[0] ?? ""] = ChainWalk.Head(seq: row.int(1) ?? 0, hash: row.bytes(2) ?? [])
        }
    }

    private func entries(
        of app: UUID?, into walk: ChainWalk, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ChainWalk {
        // Core functions alone: a superuser could have changed those of the schema.
        let statement = Statement(
            """
            SELECT e.seq::text,
                   e.id::text,
                   e.app_id::text,
                   trunc(extract(epoch FROM e.occurred_at) * 1000000)::text,
                   trunc(extract(epoch FROM e.recorded_at) * 1000000)::text,
                   e.action,
                   e.outcome,
                   e.status_code::text,
                   e.customer_id::text,
                   e.actor_key_id::text,
                   e.actor_client_key,
                   e.actor_name,
                   e.actor_role,
                   e.request_id,
                   e.idempotency_key::text,
                   e.error_code,
                   e.sqlstate,
                   e.constraint_name,
                   e.referencing_table,
                   e.before_image::text,
                   e.reason,
                   e.error_message,
                   e.actor_claimed,
                   e.ip::text,
                   e.user_agent,
                   e.request::text,
                   e.subject_commitment,
                   e.context_commitment,
                   e.subject_salt,
                   e.context_salt,
                   e.previous_hash,
                   e.hash
            FROM audit.entries AS e
            WHERE $1::uuid IS NULL OR e.app_id = $1
            ORDER BY e.app_id, e.seq
            """,
            [.uuid(app)],
            prepared: false
        )
        do {
            return try await connection.stream(statement, deadline: deadline, into: walk) { $0.take(ChainEntry($1)) }
        } catch let error as DatabaseError {
            throw error
        } catch {
            throw .unavailable("\(error)")
        }
    }
}
