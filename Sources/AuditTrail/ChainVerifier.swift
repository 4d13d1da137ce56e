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
    ///   - trust: who must have signed the checkpoints that are stored in the database, if that is known.
    ///   - afterCheckpoints: trust each chain up to its longest checkpoint, and verify what follows.
    /// - Throws: ``DatabaseError``.
    public func callAsFunction(
        app: UUID?, checkpoints: [TreeHead] = [], trusting trust: CheckpointTrust = CheckpointTrust(),
        afterCheckpoints: Bool = false, deadline: ContinuousClock.Instant
    ) async throws -> ChainVerdict {
        let reader = ChainReader(connection: connection, deadline: deadline)
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        let proven = afterCheckpoints ? try await starts(checkpoints, deadline) : [:]
        var walk = ChainWalk(checkpoints: checkpoints, proven: proven)
        var doubts: [ChainVerdict.Break] = []
        // Before the entries: those that are appended meanwhile can't be missed.
        for trace in try await reader.traces(app) { walk.take(trace) }
        let chains = try await reader.chains(app)
        // A chain that was wiped has its checkpoints left.
        let wiped = Set(try await kept.apps()).subtracting(chains).filter { app == nil || app?.text == $0 }
        for chain in chains + wiped.sorted() {
            let start = proven[chain]?.head.seq
            for row in StoredRow.judged(try await kept.all(of: chain, above: start ?? 0), trust) {
                if let claim = row.claim { walk.take(claim) }
                doubts += row.doubts.map { .init(appID: chain, seq: nil, reason: $0) }
            }
            guard !wiped.contains(chain) else { continue }
            try await reader.pages(of: chain, after: start) { page in
                walk.take(page.nodes, of: chain)
                for row in page.rows { walk.take(ChainEntry(row)) }
                if let head = page.head { walk.take(head) }
            }
        }
        var verdict = walk.finish()
        verdict.doubts = doubts + verdict.doubts
        return verdict
    }

    /// Where to begin in each chain: at its longest checkpoint, if the tree in the database has its root. If not, the
    /// chain is verified from its first entry, which tells where it was changed.
    private func starts(
        _ checkpoints: [TreeHead], _ deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [String: ProvenStart] {
        var starts: [String: ProvenStart] = [:]
        let longest = Dictionary(checkpoints.map { ($0.appID, $0) }) { $0.size > $1.size ? $0 : $1 }
        for (app, checkpoint) in longest {
            let tree = TreeReader(connection: connection, app: app, deadline: deadline)
            starts[app] = try await tree.start(at: checkpoint)
        }
        return starts
    }
}

/// A stored checkpoint, as a verification looks at it.
private struct StoredRow {
    /// What it says about the chain; nil if it can't be believed at all.
    let claim: TreeClaim?
    /// What is wrong with it, in words.
    var doubts: [String] = []

    /// - Parameter rows: of one chain, the shortest and oldest first.
    static func judged(_ rows: [KeptCheckpoints.Kept], _ trust: CheckpointTrust) -> [StoredRow] {
        var all = rows.map { judged($0, trust) }
        // Only the newest has to have the cosignatures: there may not have been a witness before.
        if let last = rows.indices.last(where: { all[$0].isOwn }), let checkpoint = rows[last].checkpoint {
            for witness in trust.witnesses where witness.cosigned(checkpoint.note) == nil {
                all[last].doubts.append("\(rows[last].name) isn't cosigned by the witness \(witness.name)")
            }
        }
        return all
    }

    private var isOwn: Bool { if case .stored? = claim?.source { true } else { false } }

    private static func judged(_ row: KeptCheckpoints.Kept, _ trust: CheckpointTrust) -> StoredRow {
        guard let checkpoint = row.checkpoint else { return StoredRow(claim: nil, doubts: [row.notOurs]) }
        let isForeign = trust.verifier.map { checkpoint.fault($0) != nil } ?? false
        let source = isForeign ? TreeClaim.Source.foreign(row.notOurs) : .stored(keyIsKnown: trust.verifier != nil)
        let wrong = trust.witnesses.filter { $0.cosigned(checkpoint.note) == false }
        let isWitnessed = trust.witnesses.allSatisfy { $0.cosigned(checkpoint.note) == true }
        return StoredRow(
            claim: TreeClaim(head: row.head, source: source, isWitnessed: isWitnessed),
            doubts: wrong.map { "\(row.name) has a wrong cosignature of the witness \($0.name)" })
    }
}

/// Proves an export without a database, line by line in constant memory, as ``ChainVerifier`` proves the database.
///
/// Source: docs/audit-chain.md.
public struct ExportVerifier: Sendable {
    private let app: String?
    private var walk: ChainWalk
    private var lines = 0
    private var verdict: ChainVerdict?

    /// - Parameters:
    ///   - app: the chain to verify, the zero UUID for the chain of unauthenticated attempts; nil for all in the export.
    ///   - checkpoints: what was signed of these chains, of some of them more than once.
    public init(app: UUID?, checkpoints: [TreeHead] = []) {
        self.app = app?.text
        walk = ChainWalk(checkpoints: checkpoints)
    }

    /// Takes the next line, with or without the line feed at its end.
    public mutating func take(line: some Sequence<UInt8>) {
        lines += 1
        guard verdict == nil else { return }
        do {
            let line = try ExportLine(line)
            guard app == nil || app == line.appID else { return }
            switch line {
            case .entry(let row, let head):
                walk.take(ChainEntry(row))
                if let head { walk.take(head) }
            case .head(let head): walk.take(head)
            case .part(let part): walk.take(part)
            }
        } catch {
            verdict = walk.stop("line \(lines) isn't an entry: \(error.reason)")
        }
    }

    /// - Returns: what was found, once the last line was taken.
    public mutating func finish() -> ChainVerdict {
        verdict ?? walk.finish()
    }
}
