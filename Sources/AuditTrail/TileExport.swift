public import LibPQ

/// Writes the tree of a chain as static files, which any reader of C2SP tlog-tiles can serve and check: `checkpoint`,
/// `tile/LEVEL/INDEX` with hashes, and `tile/entries/INDEX` with the hashes of the entries, which are the data of the
/// leaves. In constant memory, and without anything personal.
///
/// Source: C2SP, tlog-tiles, https://c2sp.org/tlog-tiles.
public struct TileExport: Sendable {
    private let connection: Connection
    private let deadline: ContinuousClock.Instant

    /// - Parameter connection: a session that may read the schema `audit`; the auditor's suffices.
    public init(connection: Connection, deadline: ContinuousClock.Instant) {
        self.connection = connection
        self.deadline = deadline
    }

    /// What came of it.
    public enum Outcome: Sendable, Hashable {
        case written(size: Int)
        /// Nothing of the chain was signed yet, so there is no tree to publish.
        case noCheckpoint
        /// What is there is of another log; the end of a sentence. Nothing was written.
        case foreign(String)
        /// The entries don't have the root that was signed, or don't continue what was published; no checkpoint was written.
        case broken(String)
    }

    /// The chains that have entries or a head, in order.
    public func chains(_ app: UUID?) async throws -> [String] {
        try await ChainReader(connection: connection, deadline: deadline).chains(app)
    }

    /// - Parameters:
    ///   - published: the checkpoint of the tree that is already there. Nothing is written that doesn't continue it: a reader
    ///     who has seen it would take the log for forged.
    ///   - write: takes a path within the tree and what the file holds. The checkpoint comes last.
    public func callAsFunction(
        of chain: String, continuing published: Checkpoint? = nil, write: (String, [UInt8]) throws -> Void
    ) async throws -> Outcome {
        let kept = KeptCheckpoints(connection: connection, deadline: deadline)
        let tree = TreeReader(connection: connection, app: chain, deadline: deadline)
        let found = try await kept.newest(of: chain) { kept, checkpoint throws(DatabaseError) in
            try await tree.has(kept.head) ? checkpoint : nil
        }
        let checkpoint: Checkpoint
        switch found {
        case .value(let newest): checkpoint = newest
        case .nothing: return .noCheckpoint
        case .disagreement(let reason): return .broken(reason)
        }
        if let published, published.origin != checkpoint.origin {
            return .foreign("it holds the tree of \(published.origin), and this is \(checkpoint.origin)")
        }
        if let published = published?.head, try await !continues(published, to: checkpoint.head) {
            return .broken(
                """
                the checkpoint of \(checkpoint.head.size) entries doesn't continue the one of \(published.size) that is \
                already there
                """)
        }
        let size = checkpoint.head.size
        var edge = TreeEdge()
        // The hashes of the tile that is being filled on each level.
        var tiles: [[UInt8]] = []
        var counts: [Int] = []
        for start in stride(from: 0, to: size, by: Subtree.tileWidth) {
            let hashes = try await hashes(of: chain, start..<min(start + Subtree.tileWidth, size))
            var bundle: [UInt8] = []
            for hash in hashes {
                bundle += [0, UInt8(hash.count)] + hash
                let leaf = MerkleHash.leaf(hash)
                let nodes = edge.append(leaf: leaf)
                for (level, hash) in ([leaf] + nodes.map(\.hash)).enumerated() {
                    if tiles.count == level { (tiles, counts) = (tiles + [[]], counts + [0]) }
                    tiles[level] += hash
                    guard tiles[level].count == Subtree.tileWidth * 32 else { continue }
                    try write(Self.path(String(level), counts[level], nil), tiles[level])
                    (tiles[level], counts[level]) = ([], counts[level] + 1)
                }
            }
            let width = hashes.count == Subtree.tileWidth ? nil : hashes.count
            try write(Self.path("entries", start / Subtree.tileWidth, width), bundle)
        }
        for (level, tile) in tiles.enumerated() where !tile.isEmpty {
            try write(Self.path(String(level), counts[level], tile.count / 32), tile)
        }
        guard edge.root == checkpoint.head.root else {
            return .broken("the chain doesn't have the root of its checkpoint of \(size) entries")
        }
        try write("checkpoint", Array(checkpoint.text.utf8))
        return .written(size: size)
    }

    private func continues(_ old: TreeHead, to new: TreeHead) async throws(DatabaseError) -> Bool {
        let tree = TreeReader(connection: connection, app: new.appID, deadline: deadline)
        guard old.size <= new.size, let proof = try await tree.consistencyProof(from: old.size, to: new.size)
        else { return false }
        return MerkleTree.isConsistent(old: (old.size, old.root), new: (new.size, new.root), proof: proof)
    }

    /// `tile/L/x001/x234/067`, of a partial tile with `.p/W` after it.
    static func path(_ level: String, _ index: Int, _ width: Int?) -> String {
        var (parts, rest) = ([Self.padded(index % 1000)], index / 1000)
        while rest > 0 { (parts, rest) = (["x" + Self.padded(rest % 1000)] + parts, rest / 1000) }
        return (["tile", level] + parts).joined(separator: "/") + (width.map { ".p/\($0)" } ?? "")
    }

    private static func padded(_ number: Int) -> String {
        String(String(number + 1000).dropFirst())
    }

    /// The hashes of entries, of which none may be missing.
    private func hashes(of chain: String, _ indices: Range<Int>) async throws(DatabaseError) -> [[UInt8]] {
        let rows = try await connection.query(
            Statement(
                """
                SELECT e.hash
                FROM audit.entries AS e
                WHERE e.app_id = $1::uuid AND e.seq > $2 AND e.seq <= $3
                ORDER BY e.seq
                """,
                [.text(chain), .int(indices.lowerBound), .int(indices.upperBound)]
            ),
            deadline: deadline
        ).rows
        let hashes = rows.compactMap { $0.bytes(0) }.filter { $0.count == 32 }
        guard hashes.count == indices.count else {
            throw .unexpected("entries of the chain of app \(chain) are missing; audit verify says which")
        }
        return hashes
    }
}
