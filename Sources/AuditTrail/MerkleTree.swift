import Crypto

/// The hashes of a Merkle tree. Source: RFC 9162, section 2.1.1.
enum MerkleHash {
    /// The root of a tree without leaves.
    static let ofNothing = Array(SHA256.hash(data: []))

    private static let leafPrefix: [UInt8] = [0x00]
    private static let nodePrefix: [UInt8] = [0x01]

    /// The hash of a leaf. Those of a chain are the hashes of its entries.
    static func leaf(_ data: [UInt8]) -> [UInt8] {
        var digest = SHA256()
        digest.update(data: leafPrefix)
        digest.update(data: data)
        return Array(digest.finalize())
    }

    static func node(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] {
        var digest = SHA256()
        digest.update(data: nodePrefix)
        digest.update(data: left)
        digest.update(data: right)
        return Array(digest.finalize())
    }
}

/// A perfect subtree of a tree: the `1 << height` leaves from leaf `index << height` on.
struct Subtree: Sendable, Hashable {
    let height: Int
    let index: Int

    /// How many levels of a tree are one level of tiles: a tile has 256 hashes.
    static let tileHeight = 8
    static let tileWidth = 1 << tileHeight

    init(height: Int, index: Int) {
        self.height = height
        self.index = index
    }

    /// A hash of a level of tiles; on level 0 that is a leaf. Source: C2SP, tlog-tiles.
    init(level: Int, index: Int) {
        self.init(height: level * Self.tileHeight, index: index)
    }

    /// The leaf after its last one.
    var end: Int { (index + 1) << height }

    /// The perfect subtrees that a subtree of the tree is made of, from left to right.
    static func covering(_ leaves: Range<Int>) -> [Subtree] {
        var subtrees: [Subtree] = []
        var start = leaves.lowerBound
        while start < leaves.upperBound {
            let height = Int.bitWidth - 1 - (leaves.upperBound - start).leadingZeroBitCount
            subtrees.append(Subtree(height: height, index: start >> height))
            start += 1 << height
        }
        return subtrees
    }
}

/// Hashes of one level of tiles.
struct TileHashes: Sendable, Hashable {
    let level: Int
    let indices: Range<Int>
}

/// Some of the hashes of a Merkle tree, from which roots and proofs are computed. A pure value: what it has to know is
/// asked first with ``hashes(for:)``, and read from wherever the tree is.
///
/// Source: RFC 9162, section 2.1.
struct MerkleTree: Sendable {
    private var hashes: [Subtree: [UInt8]] = [:]

    mutating func insert(_ hash: [UInt8], at subtree: Subtree) {
        hashes[subtree] = hash
    }

    func leaf(_ index: Int) -> [UInt8]? {
        hashes[Subtree(level: 0, index: index)]
    }

    /// The root of the tree of so many leaves; nil if a hash is missing.
    mutating func root(size: Int) -> [UInt8]? {
        hash(of: 0..<size)
    }

    /// - Returns: nil if a hash is missing.
    mutating func inclusionProof(of index: Int, size: Int) -> [[UInt8]]? {
        hashes(of: Self.inclusionPath(of: index, size: size))
    }

    /// - Returns: nil if a hash is missing.
    mutating func consistencyProof(from old: Int, to new: Int) -> [[UInt8]]? {
        hashes(of: Self.consistencyPath(from: old, to: new))
    }

    /// The right edge of the tree of so many leaves; nil if a hash is missing.
    mutating func edge(size: Int) -> TreeEdge? {
        hashes(of: Subtree.covering(0..<size).map { $0.index << $0.height..<$0.end }).map {
            TreeEdge(size: size, hashes: $0)
        }
    }

    private mutating func hashes(of path: [Range<Int>]) -> [[UInt8]]? {
        var proof: [[UInt8]] = []
        for leaves in path {
            guard let hash = hash(of: leaves) else { return nil }
            proof.append(hash)
        }
        return proof
    }

    private mutating func hash(of leaves: Range<Int>) -> [UInt8]? {
        guard !leaves.isEmpty else { return MerkleHash.ofNothing }
        var hash: [UInt8]?
        for subtree in Subtree.covering(leaves).reversed() {
            guard let left = self.hash(of: subtree) else { return nil }
            hash = hash.map { MerkleHash.node(left, $0) } ?? left
        }
        return hash
    }

    private mutating func hash(of subtree: Subtree) -> [UInt8]? {
        if let known = hashes[subtree] { return known }
        guard subtree.height > 0,
            let left = hash(of: Subtree(height: subtree.height - 1, index: subtree.index << 1)),
            let right = hash(of: Subtree(height: subtree.height - 1, index: subtree.index << 1 | 1))
        else { return nil }
        let hash = MerkleHash.node(left, right)
        hashes[subtree] = hash
        return hash
    }
}

// MARK: - Which hashes a proof has

extension MerkleTree {
    /// The leaves under each hash of an inclusion proof, in the order of the proof.
    ///
    /// Source: RFC 9162, section 2.1.3.1.
    static func inclusionPath(of index: Int, size: Int) -> [Range<Int>] {
        var path: [Range<Int>] = []
        var leaves = 0..<size
        while leaves.count > 1 {
            let (left, right) = split(leaves)
            let isLeft = left.contains(index)
            path.append(isLeft ? right : left)
            leaves = isLeft ? left : right
        }
        return path.reversed()
    }

    /// The leaves under each hash of a consistency proof, in the order of the proof. None between equal sizes, nor from 0.
    ///
    /// Source: RFC 9162, section 2.1.4.1.
    static func consistencyPath(from old: Int, to new: Int) -> [Range<Int>] {
        guard old > 0, old < new else { return [] }
        var path: [Range<Int>] = []
        var leaves = 0..<new
        while leaves.upperBound != old {
            let (left, right) = split(leaves)
            let isLeft = old <= left.upperBound
            path.append(isLeft ? right : left)
            leaves = isLeft ? left : right
        }
        // The verifier knows the old tree; a smaller subtree of it has to be told.
        if leaves.lowerBound > 0 { path.append(leaves) }
        return path.reversed()
    }

    /// Both subtrees of a tree: the left one has the largest power of two of leaves that is less than all.
    private static func split(_ leaves: Range<Int>) -> (left: Range<Int>, right: Range<Int>) {
        let width = 1 << (Int.bitWidth - 1 - (leaves.count - 1).leadingZeroBitCount)
        let middle = leaves.lowerBound + width
        return (leaves.lowerBound..<middle, middle..<leaves.upperBound)
    }

    /// The hashes of tiles from which the hashes over such leaves are computed: at most 256 of each level of tiles for
    /// each of them.
    static func hashes(for paths: [Range<Int>]) -> [TileHashes] {
        Set(
            paths.flatMap(Subtree.covering).map { subtree in
                let rest = subtree.height % Subtree.tileHeight
                return TileHashes(
                    level: subtree.height / Subtree.tileHeight,
                    indices: subtree.index << rest..<(subtree.index + 1) << rest)
            }
        ).sorted { ($0.level, $0.indices.lowerBound) < ($1.level, $1.indices.lowerBound) }
    }
}

// MARK: - Verification

extension MerkleTree {
    /// Whether a proof shows that a leaf is in the tree with a root.
    ///
    /// Source: RFC 9162, section 2.1.3.2.
    static func includes(leaf: [UInt8], at index: Int, size: Int, root: [UInt8], proof: [[UInt8]]) -> Bool {
        guard index >= 0, index < size else { return false }
        var (number, last) = (index, size - 1)
        var hash = leaf
        for sibling in proof {
            guard last > 0 else { return false }
            if number & 1 == 1 || number == last {
                hash = MerkleHash.node(sibling, hash)
                while number & 1 == 0, number != 0 { (number, last) = (number >> 1, last >> 1) }
            } else {
                hash = MerkleHash.node(hash, sibling)
            }
            (number, last) = (number >> 1, last >> 1)
        }
        return last == 0 && hash == root
    }

    /// Whether a proof shows that one tree is the beginning of another.
    ///
    /// Source: RFC 9162, section 2.1.4.2. Every tree begins with the one without leaves, which needs no proof.
    static func isConsistent(old: (size: Int, root: [UInt8]), new: (size: Int, root: [UInt8]), proof: [[UInt8]]) -> Bool
    {
        guard old.size >= 0, old.size <= new.size else { return false }
        guard old.size > 0 else {
            return proof.isEmpty && old.root == MerkleHash.ofNothing
                && (new.size > 0 || new.root == MerkleHash.ofNothing)
        }
        guard old.size < new.size else { return proof.isEmpty && old.root == new.root }
        let isPowerOfTwo = old.size & (old.size - 1) == 0
        var path = (isPowerOfTwo ? [old.root] : []) + proof
        guard !path.isEmpty else { return false }
        var (number, last) = (old.size - 1, new.size - 1)
        while number & 1 == 1 { (number, last) = (number >> 1, last >> 1) }
        var oldHash = path.removeFirst()
        var newHash = oldHash
        for hash in path {
            guard last > 0 else { return false }
            if number & 1 == 1 || number == last {
                oldHash = MerkleHash.node(hash, oldHash)
                newHash = MerkleHash.node(hash, newHash)
                while number & 1 == 0, number != 0 { (number, last) = (number >> 1, last >> 1) }
            } else {
                newHash = MerkleHash.node(newHash, hash)
            }
            (number, last) = (number >> 1, last >> 1)
        }
        return last == 0 && oldHash == old.root && newHash == new.root
    }
}

// MARK: - Growth

/// The right edge of a growing tree: the roots of the perfect subtrees that it is made of. It is all that a verifier has
/// to remember of the leaves that have gone by.
struct TreeEdge: Sendable, Hashable {
    /// How many leaves the tree has.
    private(set) var size = 0
    /// A hash for each bit of ``size`` that is set, the largest subtree first.
    private(set) var hashes: [[UInt8]] = []

    init() {}

    init(size: Int, hashes: [[UInt8]]) {
        self.size = size
        self.hashes = hashes
    }

    /// - Parameter bytes: the hashes one after another; nil is returned if there aren't as many as the tree has.
    init?(size: Int, concatenated bytes: [UInt8]) {
        guard size >= 0, bytes.count == size.nonzeroBitCount * SHA256.byteCount else { return nil }
        let starts = stride(from: 0, to: bytes.count, by: SHA256.byteCount)
        self.init(size: size, hashes: starts.map { Array(bytes[$0..<$0 + SHA256.byteCount]) })
    }

    var root: [UInt8] {
        guard var root = hashes.last else { return MerkleHash.ofNothing }
        for left in hashes.dropLast().reversed() { root = MerkleHash.node(left, root) }
        return root
    }

    /// Appends a leaf.
    ///
    /// - Returns: the nodes that are complete now, from the lowest level on: the hash of a full tile each.
    @discardableResult
    mutating func append(leaf: [UInt8]) -> [TreeNode] {
        var hash = leaf
        var height = 0
        var nodes: [TreeNode] = []
        while size >> height & 1 == 1 {
            hash = MerkleHash.node(hashes.removeLast(), hash)
            height += 1
            if height % Subtree.tileHeight == 0 {
                nodes.append(TreeNode(place: Subtree(height: height, index: size >> height), hash: hash))
            }
        }
        hashes.append(hash)
        size += 1
        return nodes
    }
}

/// What `audit.nodes` holds: the hash of a full tile, which is one hash of the tile above.
struct TreeNode: Sendable, Hashable {
    let place: Subtree
    let hash: [UInt8]
}

extension TreeNode: CustomStringConvertible {
    /// As `level/index`.
    var description: String { place.text }
}

extension Subtree {
    /// As `level/index` of the tiles.
    var text: String { "\(height / Self.tileHeight)/\(index)" }
}
