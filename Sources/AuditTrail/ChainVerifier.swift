public import LibPQ

/// Proves that the trail is what was written: it recomputes every commitment and every hash from the columns, here and
/// not in the database, whose functions could have been altered, too.
///
/// It reads page by page, in memory that grows with the number of chains only. A chain that was cut or rewritten
/// together with its head shows only against a checkpoint that is kept elsewhere.
///
/// Source: docs/audit-chain.md.
public struct ChainVerifier: Sendable {
    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Parameters:
    ///   - app: the chain to verify, the zero UUID for the chain of unauthenticated attempts; nil for all.
    ///   - checkpoints: what was signed of these chains, of some of them more than once.
    ///   - afterCheckpoints: trust each chain up to its longest checkpoint, and verify what follows.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        app: UUID?, checkpoints: [ChainHead] = [], afterCheckpoints: Bool = false,
        deadline: ContinuousClock.Instant
    ) async throws -> ChainVerdict {
        let trusted = afterCheckpoints ? checkpoints : []
        let proven = Dictionary(trusted.map { ($0.appID, $0) }) { $0.seq > $1.seq ? $0 : $1 }
        let reader = ChainReader(connection: connection, deadline: deadline)
        var walk = ChainWalk(checkpoints: checkpoints, proven: proven)
        // Before the entries: those that are appended meanwhile can't be missed.
        for trace in try await reader.traces(app) { walk.take(trace) }
        for chain in try await reader.chains(app) {
            try await reader.pages(of: chain, after: proven[chain]?.seq) { page in
                for row in page.rows { walk.take(ChainEntry(row)) }
                if let head = page.head { walk.take(head) }
            }
        }
        return walk.finish()
    }
}

/// Signs where chains end, once they are proven.
public struct CheckpointSigner: Sendable {
    private let connection: Connection
    private let signer: NoteSigner

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection, signer: NoteSigner) {
        self.connection = connection
        self.signer = signer
    }

    /// - Parameters:
    ///   - app: the chain to sign, the zero UUID for the chain of unauthenticated attempts; nil for all.
    ///   - previous: what was signed before, so that nothing is signed that contradicts it.
    ///   - incremental: verify only what came after them.
    /// - Returns: what was found, and the checkpoints of all chains that have entries; none if one of them is broken.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        app: UUID?, previous: [ChainHead] = [], incremental: Bool = false, deadline: ContinuousClock.Instant
    ) async throws -> (verdict: ChainVerdict, checkpoints: [Checkpoint]) {
        let verify = ChainVerifier(connection: connection)
        let verdict = try await verify(
            app: app, checkpoints: previous, afterCheckpoints: incremental, deadline: deadline
        )
        guard verdict.broken == nil else { return (verdict, []) }
        return (verdict, try verdict.heads.map { try Checkpoint($0, signer: signer) })
    }
}
