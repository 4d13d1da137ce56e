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
        var (doubts, remarks): ([ChainVerdict.Break], [ChainVerdict.Break]) = ([], [])
        // Before the entries: those that are appended meanwhile can't be missed.
        for trace in try await reader.traces(app) { walk.take(trace) }
        let chains = try await reader.chains(app)
        // A chain that was wiped has its checkpoints left.
        let wiped = Set(try await kept.apps()).subtracting(chains).filter { app == nil || app?.text == $0 }
        for chain in chains + wiped.sorted() {
            let start = proven[chain]?.head.seq
            let given = checkpoints.filter { $0.appID == chain }.map(\.size).max() ?? 0
            let rows = try await kept.all(of: chain, above: start ?? 0)
            for row in StoredRow.judged(rows, trust, given: given) {
                if let claim = row.claim { walk.take(claim) }
                doubts += row.doubts.map { .init(appID: chain, seq: nil, reason: $0) }
                remarks += row.notes.map { .init(appID: chain, seq: nil, reason: $0) }
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
        verdict.remarks = remarks
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
    var claim: TreeClaim?
    /// What is wrong with it, in words.
    var doubts: [String] = []
    /// What is wrong with it and doesn't matter, in words.
    var notes: [String] = []

    /// A cosignature stands beside what it is for, so one that is right counts wherever it stands: those of the longest
    /// tree that this log has signed have to be there. What is wrong elsewhere is what a witness answered, or the role that
    /// signs added, and takes nothing away.
    ///
    /// - Parameters:
    ///   - rows: of one chain, the shortest and oldest first.
    ///   - given: how many entries a checkpoint covers that was given, with all cosignatures.
    static func judged(_ rows: [KeptCheckpoints.Kept], _ trust: CheckpointTrust, given: Int) -> [StoredRow] {
        var all = rows.map { judged($0, trust) }
        guard let last = rows.indices.last(where: { all[$0].isOwn }) else { return all }
        let newest = rows.indices.filter { all[$0].isOwn && rows[$0].head.size == rows[last].head.size }
        var isWitnessed = true
        for witness in trust.witnesses {
            let verdicts = newest.map { rows[$0].checkpoint.flatMap { witness.cosigned($0.note) } }
            isWitnessed = isWitnessed && verdicts.contains(true)
            let isSettled = verdicts.contains(true) || given >= rows[last].head.size
            for index in rows.indices where all[index].isOwn {
                guard rows[index].checkpoint.flatMap({ witness.cosigned($0.note) }) == false else { continue }
                let sentence = "\(rows[index].name) has a wrong cosignature of the witness \(witness.name)"
                if isSettled || !newest.contains(index) {
                    all[index].notes.append(sentence)
                } else {
                    all[index].doubts.append(sentence)
                }
            }
            if !isSettled, !verdicts.contains(false) {
                all[last].doubts.append("\(rows[last].name) isn't cosigned by the witness \(witness.name)")
            }
        }
        all[last].claim?.isWitnessed = isWitnessed
        return all
    }

    private var isOwn: Bool { if case .stored? = claim?.source { true } else { false } }

    private static func judged(_ row: KeptCheckpoints.Kept, _ trust: CheckpointTrust) -> StoredRow {
        guard let checkpoint = row.checkpoint else { return StoredRow(claim: nil, doubts: [row.notOurs]) }
        let isForeign = trust.verifier.map { checkpoint.fault($0) != nil } ?? false
        let source = isForeign ? TreeClaim.Source.foreign(row.notOurs) : .stored(keyIsKnown: trust.verifier != nil)
        return StoredRow(claim: TreeClaim(head: row.head, source: source, isWitnessed: false))
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
