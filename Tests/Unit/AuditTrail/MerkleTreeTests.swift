import Foundation
import TestSupport
import Testing

@testable import AuditTrail

@Suite("Merkle tree")
struct MerkleTreeTests {
    /// 256², the smallest tree with a full tile on the second level.
    private static let square = 65_536

    @Test("roots and proofs are those of Certificate Transparency's test tree and of Go's sumdb/tlog")
    func vectors() throws {
        for known in try Vectors.read().trees {
            let leaves = known.leafData.map(MerkleHash.leaf)
            let tree = Prover(Self.tree(leaves))
            for root in known.roots {
                #expect(try tree.root(root.size).hex == root.root)
                #expect(Self.edge(leaves.prefix(root.size)).root.hex == root.root)
            }
            for known in known.inclusion {
                #expect(try tree.inclusion(known.index, known.size).map(\.hex) == known.proof)
            }
            for known in known.consistency {
                #expect(try tree.consistency(known.old, known.new).map(\.hex) == known.proof)
            }
        }
    }

    @Test("a leaf is proven by its proof, and by none that is longer, shorter, changed or that of another")
    func inclusion() throws {
        var random = SeededGenerator(seed: 1)
        let leaves = Self.leaves(600)
        let tree = Prover(Self.tree(leaves))
        var edge = TreeEdge()
        for size in 1...leaves.count {
            edge.append(leaf: leaves[size - 1])
            let root = try tree.root(size)
            #expect(edge.root == root)
            let indices =
                size <= 66
                ? Array(0..<size)
                : [0, 255, 256, size - 2, size - 1].filter { $0 < size }
                    + (0..<4).map { _ in .random(in: 0..<size, using: &random) }
            for index in indices {
                var proof = try tree.inclusion(index, size)
                let leaf = leaves[index]
                #expect(MerkleTree.includes(leaf: leaf, at: index, size: size, root: root, proof: proof))
                let other = index == 0 ? size : index - 1
                #expect(!MerkleTree.includes(leaf: leaf, at: other, size: size, root: root, proof: proof))
                #expect(!MerkleTree.includes(leaf: leaf, at: index, size: size, root: root, proof: proof + [leaf]))
                guard !proof.isEmpty else { continue }
                #expect(!MerkleTree.includes(leaf: leaf, at: index, size: size, root: root, proof: proof.dropLast()))
                Self.flipBit(in: &proof, &random)
                #expect(!MerkleTree.includes(leaf: leaf, at: index, size: size, root: root, proof: proof))
            }
        }
    }

    @Test("a tree is the beginning of each larger one by its proof, and by none that is longer, shorter or changed")
    func consistency() throws {
        var random = SeededGenerator(seed: 2)
        let leaves = Self.leaves(600)
        let tree = Prover(Self.tree(leaves))
        let roots = try (0...leaves.count).map(tree.root)
        for new in 0...leaves.count {
            let sizes =
                new <= 66
                ? Array(0...new)
                : [0, 1, 128, 256, new - 1, new].filter { $0 <= new } + [.random(in: 0...new, using: &random)]
            for old in sizes {
                var proof = try tree.consistency(old, new)
                #expect(MerkleTree.isConsistent(old: (old, roots[old]), new: (new, roots[new]), proof: proof))
                let other = (old, MerkleHash.leaf(roots[old]))
                #expect(!MerkleTree.isConsistent(old: other, new: (new, roots[new]), proof: proof))
                #expect(
                    !MerkleTree.isConsistent(old: (old, roots[old]), new: (new, roots[new]), proof: proof + [roots[1]]))
                guard !proof.isEmpty else { continue }
                #expect(
                    !MerkleTree.isConsistent(old: (old, roots[old]), new: (new, roots[new]), proof: proof.dropLast()))
                Self.flipBit(in: &proof, &random)
                #expect(!MerkleTree.isConsistent(old: (old, roots[old]), new: (new, roots[new]), proof: proof))
            }
        }
    }

    @Test("around 256²: a proof needs a few hundred hashes, which are enough for it")
    func readOnDemand() throws {
        let leaves = Self.leaves(Self.square + 300)
        let whole = Prover(Self.tree(leaves))
        var stored: [Subtree: [UInt8]] = [:]
        var edge = TreeEdge()
        for leaf in leaves { for node in edge.append(leaf: leaf) { stored[node.place] = node.hash } }
        #expect(stored.count == Self.square / 256 + 1 + 1)
        for size in [Self.square - 1, Self.square, Self.square + 1, Self.square + 256, Self.square + 299] {
            let root = try whole.root(size)
            for index in [0, 255, 256, Self.square / 2, size - 257, size - 1] {
                let needed = MerkleTree.hashes(
                    for: MerkleTree.inclusionPath(of: index, size: size)
                        + MerkleTree.consistencyPath(from: index + 1, to: size) + [0..<size])
                #expect(needed.reduce(0) { $0 + $1.indices.count } <= 4 * 256)
                let tree = Prover(MerkleTree())
                for (place, hash) in Self.hashes(needed, leaves, stored) { tree.tree.insert(hash, at: place) }
                let proof = try tree.inclusion(index, size)
                #expect(MerkleTree.includes(leaf: leaves[index], at: index, size: size, root: root, proof: proof))
                let old = try whole.root(index + 1)
                let consistency = try tree.consistency(index + 1, size)
                #expect(MerkleTree.isConsistent(old: (index + 1, old), new: (size, root), proof: consistency))
                let rightEdge = tree.tree.edge(size: size)
                #expect(rightEdge?.root == root)
            }
        }
        let nothing = Prover(MerkleTree())
        #expect(try nothing.root(0) == MerkleHash.ofNothing)
        #expect(throws: (any Error).self) { try nothing.root(1) }
        #expect(throws: (any Error).self) { try nothing.inclusion(0, 2) }
    }

    @Test("Python reads the same vectors")
    func python() async throws {
        let answer = try await Program.succeed([
            "python3", "-B", projectFile("Tests/Unit/AuditTrail/merkle_vectors.py"),
            projectFile("scripts/verify-audit.py"),
            Vectors.path,
        ])
        #expect(answer.hasPrefix("all"))
    }

    // MARK: - Trees

    private static func leaves(_ count: Int) -> [[UInt8]] {
        (0..<count).map { MerkleHash.leaf(Array(String($0).utf8)) }
    }

    private static func tree(_ leaves: [[UInt8]]) -> MerkleTree {
        var tree = MerkleTree()
        for (index, leaf) in leaves.enumerated() { tree.insert(leaf, at: Subtree(level: 0, index: index)) }
        return tree
    }

    private static func edge(_ leaves: some Sequence<[UInt8]>) -> TreeEdge {
        var edge = TreeEdge()
        for leaf in leaves { edge.append(leaf: leaf) }
        return edge
    }

    private static func hashes(
        _ needed: [TileHashes], _ leaves: [[UInt8]], _ stored: [Subtree: [UInt8]]
    ) -> [(Subtree, [UInt8])] {
        needed.flatMap { tile in
            tile.indices.compactMap { index in
                let place = Subtree(level: tile.level, index: index)
                return (tile.level == 0 ? leaves[index] : stored[place]).map { (place, $0) }
            }
        }
    }

    private static func flipBit(in proof: inout [[UInt8]], _ random: inout SeededGenerator) {
        let index = Int.random(in: proof.indices, using: &random)
        proof[index][Int.random(in: 0..<32, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    }
}

/// A tree that has every hash that it is asked for.
private final class Prover {
    private struct Missing: Error {}

    var tree: MerkleTree

    init(_ tree: MerkleTree) {
        self.tree = tree
    }

    func root(_ size: Int) throws -> [UInt8] { try known(tree.root(size: size)) }
    func inclusion(_ index: Int, _ size: Int) throws -> [[UInt8]] {
        try known(tree.inclusionProof(of: index, size: size))
    }
    func consistency(_ old: Int, _ new: Int) throws -> [[UInt8]] {
        try known(tree.consistencyProof(from: old, to: new))
    }

    private func known<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw Missing() }
        return value
    }
}

/// Roots and proofs that others computed, in a file that Swift and Python both read.
private struct Vectors: Decodable {
    struct Tree: Decodable {
        struct Root: Decodable {
            let size: Int
            let root: String
        }
        struct Inclusion: Decodable {
            let index: Int
            let size: Int
            let proof: [String]
        }
        struct Consistency: Decodable {
            let old: Int
            let new: Int
            let proof: [String]
        }
        let leaves: [String]?
        let roots: [Root]
        let inclusion: [Inclusion]
        let consistency: [Consistency]

        /// In hex, or the decimal texts of the indices.
        var leafData: [[UInt8]] {
            leaves?.compactMap { [UInt8](hex: $0) }
                ?? (0..<(roots.map(\.size).max() ?? 0)).map { Array(String($0).utf8) }
        }
    }

    static let path = projectFile("Tests/Unit/AuditTrail/merkle_vectors.json")

    let trees: [Tree]

    static func read() throws -> Vectors {
        try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
    }
}
