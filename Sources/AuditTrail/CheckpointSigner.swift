public import LibPQ

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
    ///   - app: the chain to sign, the zero UUID for that of strangers; nil for all.
    ///   - previous: what was signed before, so that nothing is signed that contradicts it.
    ///   - incremental: look only at what came after them.
    /// - Returns: what was found, and the checkpoints of all chains that have entries; none if one of them is broken.
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
