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
        app: UUID?, checkpoints: [TreeHead] = [], afterCheckpoints: Bool = false,
        deadline: ContinuousClock.Instant
    ) async throws -> ChainVerdict {
        let reader = ChainReader(connection: connection, deadline: deadline)
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        let proven = afterCheckpoints ? try await starts(checkpoints, deadline) : [:]
        var walk = ChainWalk(checkpoints: checkpoints, proven: proven)
        var fault: ChainVerdict.Break?
        // Before the entries: those that are appended meanwhile can't be missed.
        for trace in try await reader.traces(app) { walk.take(trace) }
        for chain in try await reader.chains(app) {
            let start = proven[chain]?.head.seq
            for checkpoint in try await kept.all(of: chain, above: start ?? 0) {
                walk.take(checkpoint.head)
                fault = fault ?? checkpoint.fault.map { .init(appID: chain, seq: nil, reason: $0) }
            }
            try await reader.pages(of: chain, after: start) { page in
                walk.take(page.nodes, of: chain)
                for row in page.rows { walk.take(ChainEntry(row)) }
                if let head = page.head { walk.take(head) }
            }
        }
        var verdict = walk.finish()
        verdict.broken = verdict.broken ?? fault
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
