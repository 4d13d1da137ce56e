public import LibPQ

/// Signs the trees of chains, once they are proven.
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
    ///   - previous: what was signed before, so that nothing is signed that contradicts it. What this key signed last is
    ///     found in the database, too.
    ///   - incremental: verify only what came after them.
    /// - Returns: what was found, and the checkpoints of all chains that have entries; none if one of them is broken. What
    ///   is wrong with stored checkpoints that this key didn't sign is among the remarks, and stops nothing.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        app: UUID?, previous: [TreeHead] = [], incremental: Bool = false, deadline: ContinuousClock.Instant
    ) async throws -> (verdict: ChainVerdict, checkpoints: [Checkpoint]) {
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        var own: [TreeHead] = []
        for chain in try await kept.apps() where app == nil || app?.text == chain {
            if let (_, checkpoint) = try await kept.newest(of: chain, signedBy: signer.verifier.text) {
                own.append(checkpoint.head)
            }
        }
        let verify = ChainVerifier(connection: connection)
        let verdict = try await verify(
            app: app, checkpoints: previous + own, trusting: CheckpointTrust(signer.verifier),
            afterCheckpoints: incremental, deadline: deadline)
        guard verdict.broken == nil else { return (verdict, []) }
        return (verdict, try verdict.heads.map { try Checkpoint($0, signer: signer) })
    }

    /// Keeps checkpoints in the database, for proofs and certificates.
    ///
    /// - Returns: where that replaces another key's checkpoint of the same size as the newest, in sentences: from now on
    ///   proofs show the signature of this key.
    public func keep(
        _ checkpoints: [Checkpoint], deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [String] {
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        var replaced: [String] = []
        for checkpoint in checkpoints {
            let before = try await kept.newest(of: checkpoint.head.appID)
            try await kept.keep(checkpoint, signer.verifier)
            guard let (newest, _) = before, newest.head.size == checkpoint.head.size,
                newest.publicKey != signer.verifier.text
            else { continue }
            replaced.append(
                """
                The tree of \(newest.head.size) entries of app \(newest.head.appID) was signed with another key before, \
                \(newest.publicKey): proofs and certificates now show the signature of \(signer.verifier.text ?? "").
                """)
        }
        return replaced
    }

    /// Adds the cosignatures under earlier checkpoints of the same trees, so that signing again loses none.
    ///
    /// - Parameters:
    ///   - earlier: what was published before. What this key signed last is found in the database, too.
    ///   - witnesses: where a cosignature claims to be of one of these, it has to be right.
    public func keepingCosignatures(
        _ checkpoints: [Checkpoint], of earlier: [Checkpoint], witnesses: [WitnessKey],
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [Checkpoint] {
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        var complete: [Checkpoint] = []
        for var checkpoint in checkpoints {
            for earlier in earlier { checkpoint.adoptCosignatures(of: earlier, witnesses) }
            let newest = try await kept.newest(of: checkpoint.head.appID, signedBy: signer.verifier.text)
            if let (_, earlier) = newest { checkpoint.adoptCosignatures(of: earlier, witnesses) }
            complete.append(checkpoint)
        }
        return complete
    }
}
