import LibPQ

/// Reads from the database what roots and proofs of a chain's tree need: hashes of entries, and nodes above them. At most
/// a few hundred rows of each level, however long the chain is.
struct TreeReader: Sendable {
    let connection: Connection
    /// The chain, a UUID in lower case.
    let app: String
    let deadline: ContinuousClock.Instant

    /// The hashes from which those over such leaves are computed. Where the database lacks some, they are left out.
    func tree(for paths: [Range<Int>]) async throws(DatabaseError) -> MerkleTree {
        let needed = MerkleTree.hashes(for: paths)
        let leaves = needed.filter { $0.level == 0 }
        let nodes = needed.filter { $0.level > 0 }
        let rows = try await connection.query(
            Statement(
                Self.hashes,
                [
                    .text(app), Self.array(leaves.map(\.indices.lowerBound)),
                    Self.array(leaves.map(\.indices.upperBound)),
                    Self.array(nodes.map(\.level)), Self.array(nodes.map(\.indices.lowerBound)),
                    Self.array(nodes.map(\.indices.upperBound)),
                ]
            ),
            deadline: deadline
        ).rows
        var tree = MerkleTree()
        for row in rows {
            guard let level = row.int(0), let first = row.int(1), let size = row.int(2) else {
                throw .unexpected("hashes of a tile have no place")
            }
            // Where one is missing, the bytes don't say which.
            guard let hashes = row.bytes(3), hashes.count == size * 32 else { continue }
            for index in 0..<size {
                let hash = Array(hashes[index * 32..<index * 32 + 32])
                tree.insert(
                    level == 0 ? MerkleHash.leaf(hash) : hash, at: Subtree(level: level, index: first + index))
            }
        }
        return tree
    }

    /// - Throws: also when the tree lacks a hash.
    func edge(size: Int) async throws(DatabaseError) -> TreeEdge {
        var tree = try await tree(for: [0..<size])
        guard let edge = tree.edge(size: size) else { throw missing }
        return edge
    }

    /// The hashes from the sibling of an entry's leaf up to the child of the root.
    ///
    /// - Returns: nil if the tree lacks a hash, or they don't lead from the leaf to the root: a proof that proves nothing is
    ///   never handed out.
    func inclusionProof(
        of index: Int, leaf: [UInt8], in head: TreeHead
    ) async throws(DatabaseError) -> [[UInt8]]? {
        var tree = try await tree(for: MerkleTree.inclusionPath(of: index, size: head.size))
        guard let proof = tree.inclusionProof(of: index, size: head.size),
            MerkleTree.includes(leaf: leaf, at: index, size: head.size, root: head.root, proof: proof)
        else { return nil }
        return proof
    }

    /// Whether the tree in the database, up to its size, is the one that was signed.
    func has(_ head: TreeHead) async throws(DatabaseError) -> Bool {
        var tree = try await tree(for: [0..<head.size])
        return tree.root(size: head.size) == head.root
    }

    /// - Returns: nil if the tree lacks a hash, for example because it isn't that long.
    func consistencyProof(from old: Int, to new: Int) async throws(DatabaseError) -> [[UInt8]]? {
        var tree = try await tree(for: MerkleTree.consistencyPath(from: old, to: new))
        return tree.consistencyProof(from: old, to: new)
    }

    /// Where a verification can begin that trusts a checkpoint.
    ///
    /// - Returns: nil if the database doesn't have the tree that was signed.
    func start(at head: TreeHead) async throws(DatabaseError) -> ProvenStart? {
        let last = head.size - 1
        let paths = MerkleTree.inclusionPath(of: last, size: head.size) + [0..<head.size, last..<head.size]
        var tree = try await tree(for: paths)
        guard let edge = tree.edge(size: head.size), edge.root == head.root, let leaf = tree.leaf(last),
            let proof = tree.inclusionProof(of: last, size: head.size),
            MerkleTree.includes(leaf: leaf, at: last, size: head.size, root: head.root, proof: proof)
        else { return nil }
        let rows = try await connection.query(
            Statement(Self.hash, [.text(app), .int(head.size)]), deadline: deadline
        ).rows
        guard let hash = rows.first?.bytes(0), MerkleHash.leaf(hash) == leaf else { return nil }
        return ProvenStart(head: ChainHead(appID: app, seq: head.size, hash: hash), edge: edge)
    }

    private var missing: DatabaseError {
        .unexpected("the tree of the chain of app \(app) lacks a hash; audit verify says which")
    }

    private static func array(_ numbers: [Int]) -> Parameter {
        .array(numbers.map { String($0) })
    }

    // MARK: - Statements

    /// The hashes of each range one after another: a row for each hash would take longer to send than to find. A subquery
    /// for each range, ordered and limited to a tile, so that each is a walk along the key: as plain joins they would be
    /// estimated as a share of the whole chain, and read all of it.
    private static let hashes = """
        SELECT 0, r.first, r.after - r.first,
               (SELECT string_agg(leaf.hash, '')
                FROM (SELECT e.hash
                      FROM audit.entries AS e
                      WHERE e.app_id = $1::uuid AND e.seq > r.first AND e.seq <= r.after
                      ORDER BY e.seq
                      LIMIT 256) AS leaf)
        FROM unnest($2::bigint[], $3::bigint[]) AS r (first, after)
        UNION ALL
        SELECT r.level, r.first, r.after - r.first,
               (SELECT string_agg(node.hash, '')
                FROM (SELECT n.hash
                      FROM audit.nodes AS n
                      WHERE n.app_id = $1::uuid AND n.level = r.level AND n.index >= r.first AND n.index < r.after
                      ORDER BY n.index
                      LIMIT 256) AS node)
        FROM unnest($4::int[], $5::bigint[], $6::bigint[]) AS r (level, first, after)
        """

    private static let hash = """
        SELECT e.hash
        FROM audit.entries AS e
        WHERE e.app_id = $1::uuid AND e.seq = $2
        """
}
