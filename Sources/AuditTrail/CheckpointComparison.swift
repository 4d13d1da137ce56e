public import LibPQ

/// The checkpoints in a file, one note after another, and which of them can be trusted.
public struct Checkpoints: Sendable, Hashable {
    /// Those that can be trusted.
    public private(set) var trusted: [Checkpoint] = []
    /// Why the first of the others can't.
    public private(set) var fault: ChainVerdict.Break?
    /// Whether a key was given to verify the signatures with.
    public let isProven: Bool
    /// The only chain whose checkpoints matter; nil for all.
    fileprivate let app: String?

    /// - Parameters:
    ///   - contents: of the file.
    ///   - app: the only chain whose checkpoints matter; nil for all.
    ///   - trust: who must have signed and cosigned; without a key, the file is trusted.
    public init(_ contents: String, app: UUID?, trusting trust: CheckpointTrust = CheckpointTrust()) {
        isProven = trust.verifier != nil
        self.app = app?.text
        do {
            for checkpoint in try Self.read(contents) where app == nil || app?.text == checkpoint.head.appID {
                if let reason = checkpoint.fault(trust.verifier, trust.witnesses) {
                    fault = fault ?? .init(appID: checkpoint.head.appID, seq: nil, reason: reason)
                } else {
                    trusted.append(checkpoint)
                }
            }
        } catch {
            trusted = []
            fault = .init(appID: nil, seq: nil, reason: "the checkpoint file is invalid: \(error)")
        }
    }

    /// The trees that can be trusted, without empty ones: every chain begins with that of no entries.
    public var heads: [TreeHead] { trusted.map(\.head).filter { $0.size > 0 } }

    private static func read(_ contents: String) throws(SignedNote.Malformed) -> [Checkpoint] {
        var checkpoints: [Checkpoint] = []
        for note in try SignedNote.notes(in: contents) { checkpoints.append(try Checkpoint(note)) }
        guard !checkpoints.isEmpty else { throw SignedNote.Malformed(description: "it holds no checkpoint") }
        return checkpoints
    }
}

extension ChainVerdict {
    /// The verdict of a trail that a file with checkpoints was to confirm. A fault of the chain itself takes precedence; what
    /// can't be trusted, and what wasn't compared with anything, doesn't confirm it.
    public func weighing(_ checkpoints: Checkpoints) -> ChainVerdict {
        var verdict = self
        if let fault = checkpoints.fault {
            verdict.doubts.insert(fault, at: 0)
        } else if broken == nil {
            let named = Set(checkpoints.trusted.map(\.head.appID)).union(checkpoints.app.map { [$0] } ?? [])
            var missed = unconfirmed.filter(named.contains)
            if missed.isEmpty, agreements == 0 { missed = checkpoints.app.map { [$0] } ?? [] }
            verdict.doubts += missed.map { app in
                .init(
                    appID: app, seq: nil,
                    reason: "no checkpoint of the file was compared with the chain: none is of entries that are there")
            }
            if missed.isEmpty, agreements == 0 {
                verdict.doubts.append(
                    .init(appID: nil, seq: nil, reason: "no checkpoint of the file was compared with a chain"))
            }
        }
        return verdict
    }
}

extension ChainVerdict {
    /// The verdict of one who wants cosignatures: a chain with entries without a cosigned checkpoint may have been rewritten
    /// together with all that the operator has, and so isn't confirmed.
    public func wanting(_ trust: CheckpointTrust) -> ChainVerdict {
        guard !trust.witnesses.isEmpty, broken == nil else { return self }
        var verdict = self
        let names = trust.witnesses.map(\.name).joined(separator: ", ")
        let doubted = Set(doubts.compactMap(\.appID))
        verdict.doubts += unwitnessed.filter { !doubted.contains($0) }.map { app in
            .init(
                appID: app, seq: nil,
                reason: "no checkpoint of the chain that is cosigned by \(names) was compared with it")
        }
        return verdict
    }
}

/// Whether newer checkpoints continue older ones, by consistency proofs from the database: a few hundred rows for each
/// chain, however long it is.
public struct CheckpointComparison: Sendable {
    private let connection: Connection

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection) {
        self.connection = connection
    }

    /// - Returns: a verdict that counts the entries under the new checkpoints, and as verified those of the chains that
    ///   are consistent; of the others, those under the old checkpoint. A chain that isn't in both files is a break, and so
    ///   is nothing to compare.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        from old: Checkpoints, to new: Checkpoints, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ChainVerdict {
        let faults = [old.fault, new.fault].compactMap(\.self)
        // A checkpoint that isn't trusted isn't one that is lacking.
        var verdict = try await compare(
            old.trusted.map(\.head), new.trusted.map(\.head), lackingIsBreak: faults.isEmpty, deadline)
        verdict.doubts = faults
        if verdict.chains == 0, verdict.fault == nil {
            verdict.breakAt(new.app, nil, "there is no checkpoint to compare")
        }
        return verdict
    }

    private func compare(
        _ old: [TreeHead], _ new: [TreeHead], lackingIsBreak: Bool, _ deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> ChainVerdict {
        var verdict = ChainVerdict()
        let before = Dictionary(grouping: old, by: \.appID)
        let after = Dictionary(grouping: new, by: \.appID)
        for app in Set(before.keys).union(after.keys).sorted() {
            verdict.chains += 1
            let last = after[app]?.max { $0.size < $1.size }
            verdict.entries += last?.size ?? 0
            guard let last, let older = before[app] else {
                let file = last == nil ? "newer" : "older"
                guard lackingIsBreak else { continue }
                verdict.breakAt(app, nil, "the \(file) checkpoints lack this chain, so nothing was compared")
                continue
            }
            let heads = (older + (after[app] ?? [])).sorted { $0.size < $1.size }
            let (agreed, fault) = try await follow(heads, of: app, deadline)
            verdict.verified += min(fault == nil ? last.size : agreed, last.size)
            if let fault {
                verdict.breakAt(app, agreed + 1, fault)
            } else if heads.last?.size != last.size {
                verdict.breakAt(app, last.size + 1, "the newer checkpoint covers less than the older one")
            }
        }
        return verdict
    }

    /// - Returns: the size of the last tree that continues those before it, and what is wrong with the next.
    private func follow(
        _ heads: [TreeHead], of app: String, _ deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (agreed: Int, fault: String?) {
        let tree = TreeReader(connection: connection, app: app, deadline: deadline)
        var agreed = heads[0].size
        for (older, newer) in zip(heads, heads.dropFirst()) {
            let proof = try await tree.consistencyProof(from: older.size, to: newer.size)
            guard let proof else {
                return (agreed, "the database lacks hashes of the checkpoint of \(newer.size) entries")
            }
            guard
                MerkleTree.isConsistent(old: (older.size, older.root), new: (newer.size, newer.root), proof: proof)
            else { return (agreed, "the checkpoint of \(newer.size) entries doesn't continue that of \(older.size)") }
            agreed = newer.size
        }
        return (agreed, nil)
    }
}

extension ChainVerdict {
    fileprivate mutating func breakAt(_ app: String?, _ seq: Int?, _ reason: String) {
        broken = broken ?? Break(appID: app, seq: seq, reason: reason)
    }
}
