public import LibPQ

/// Proves that the trail is what was written: recomputes every commitment and every hash from the columns, here and not
/// in the database, which whoever alters a trail has in hand.
///
/// It reads one snapshot, row by row, in memory that grows with the number of chains only. That a chain was cut or
/// rewritten together with its head, only a checkpoint kept outside shows.
///
/// Source: docs/audit-chain.md.
public struct ChainVerifier: Sendable {
    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Parameters:
    ///   - app: the chain to verify, the zero UUID for that of strangers; nil for all.
    ///   - checkpoints: what was signed of these chains, of some of them more than once.
    ///   - afterCheckpoints: take up to its longest checkpoint for proven what a chain has, and look at the rest alone.
    public func callAsFunction(
        app: UUID?, checkpoints: [ChainHead] = [], afterCheckpoints: Bool = false,
        deadline: ContinuousClock.Instant
    ) async throws -> ChainVerdict {
        let trusted = afterCheckpoints ? checkpoints : []
        let proven = Dictionary(trusted.map { ($0.appID, $0) }) { $0.seq > $1.seq ? $0 : $1 }
        return try await ChainSnapshot.read(connection, deadline: deadline) { snapshot in
            var walk = ChainWalk(checkpoints: checkpoints, proven: proven)
            for head in try await snapshot.heads(of: app) { walk.take(head) }
            walk = try await snapshot.entries(of: app, after: proven.mapValues(\.seq), into: walk) {
                $0.take(ChainEntry($1))
            }
            return walk.finish()
        }
    }
}
