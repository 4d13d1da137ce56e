public import LibPQ

/// Whether the service can do its work: the database answers and can be written to, which every request of a client
/// does.
public struct Readiness: Sendable {
    /// How long a check may take.
    private static let patience = Duration.seconds(1)

    private let pool: ConnectionPool
    private let serving: ConnectionPool

    /// - Parameters:
    ///   - pool: one that no request uses, so that a check never waits for requests.
    ///   - serving: the one that requests use. After an outage it may be back a moment later.
    public init(pool: ConnectionPool, serving: ConnectionPool) {
        self.pool = pool
        self.serving = serving
    }

    public func callAsFunction() async -> Bool {
        let deadline = ContinuousClock.now + Self.patience
        let isReadOnly = try? await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
            try await connection.query(
                Statement("SELECT pg_catalog.current_setting('transaction_read_only')::pg_catalog.bool"),
                deadline: deadline
            ).rows.first?.bool(0)
        }
        return isReadOnly == false && serving.isReachable
    }
}
