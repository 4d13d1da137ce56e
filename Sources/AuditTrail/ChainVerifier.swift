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
            var stored = StoredCheckpoints(trusting: trust)
            try await kept.each(of: chain, above: start ?? 0) { stored.take($0) }
            let wrong = stored.finish(given: given)
            doubts += wrong.doubts.map { .init(appID: chain, seq: nil, reason: $0) }
            remarks += wrong.remarks.map { .init(appID: chain, seq: nil, reason: $0) }
            stored.claims.forEach { walk.take($0) }
            guard !wiped.contains(chain) else { continue }
            try await reader.pages(of: chain, after: start) { page in
                walk.take(page.nodes, of: chain)
                for row in page.rows { walk.take(ChainEntry(row)) }
                if let head = page.head { walk.take(head) }
            }
        }
        var verdict = walk.finish()
        verdict.doubts = doubts
        verdict.remarks = remarks + verdict.remarks
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

/// What the stored checkpoints of a chain say, and which of them can't be believed. Of those only the first is named and the
/// others are counted: the role that signs can add any number.
private struct StoredCheckpoints {
    /// What the rows say about the chain.
    private(set) var claims: [TreeClaim] = []
    private let trust: CheckpointTrust
    private var notOurs = Faults()
    /// The longest tree of this log's rows, and how a sentence about the newest of them begins.
    private var longest: (size: Int, name: String)?
    /// The place of the newest of them among the claims.
    private var own = 0
    /// By witness, whether it has cosigned the longest tree under any row.
    private var isCosigned: [Bool]
    /// By witness, its wrong cosignatures: under the longest tree, and under all.
    private var wrong: [(longest: Faults, all: Faults)]

    init(trusting trust: CheckpointTrust) {
        self.trust = trust
        isCosigned = trust.witnesses.map { _ in false }
        wrong = trust.witnesses.map { _ in (Faults(), Faults()) }
    }

    /// Takes the next row; the shortest and oldest come first.
    mutating func take(_ row: KeptCheckpoints.Kept) {
        guard let checkpoint = row.checkpoint else { return notOurs.add(row.notOurs) }
        guard trust.verifier.map({ checkpoint.fault($0) == nil }) ?? true else {
            claims.append(TreeClaim(head: row.head, source: .foreign(row.notOurs), isWitnessed: false))
            return
        }
        if row.head.size > longest?.size ?? 0 {
            isCosigned = isCosigned.map { _ in false }
            wrong = wrong.map { (Faults(), $0.all) }
        }
        longest = (row.head.size, row.name)
        own = claims.count
        claims.append(
            TreeClaim(head: row.head, source: .stored(keyIsKnown: trust.verifier != nil), isWitnessed: false))
        for (index, witness) in trust.witnesses.enumerated() {
            guard let isRight = witness.cosigned(checkpoint.note) else { continue }
            isCosigned[index] = isCosigned[index] || isRight
            guard !isRight else { continue }
            let sentence = "\(row.name) has a wrong cosignature of the witness \(witness.name)"
            wrong[index].longest.add(sentence)
            wrong[index].all.add(sentence)
        }
    }

    /// Says what is wrong, in sentences, once the last row was taken.
    ///
    /// A cosignature stands beside what it is for, so one that is right counts wherever it stands: those of the longest
    /// tree that this log has signed have to be there. What is wrong elsewhere is what a witness answered, or the role that
    /// signs added, and takes nothing away.
    ///
    /// - Parameter given: how many entries a checkpoint covers that was given, with all cosignatures.
    /// - Returns: what matters, and what is passed over.
    mutating func finish(given: Int) -> (doubts: [String], remarks: [String]) {
        var (doubts, remarks): ([String], [String]) = ([], [])
        if let sentence = notOurs.sentence {
            // Without the key, it may be a row of this log that was altered.
            if trust.verifier == nil { doubts.append(sentence) } else { remarks.append(sentence) }
        }
        guard let longest else { return (doubts, remarks) }
        claims[own].isWitnessed = isCosigned.allSatisfy(\.self)
        for (index, witness) in trust.witnesses.enumerated() {
            if isCosigned[index] || given >= longest.size {
                if let sentence = wrong[index].all.sentence { remarks.append(sentence) }
            } else {
                doubts.append(
                    wrong[index].longest.sentence
                        ?? "\(longest.name) isn't cosigned by the witness \(witness.name)")
            }
        }
        return (doubts, remarks)
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
