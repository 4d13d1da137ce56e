import Foundation
import TestSupport
import Testing

@testable import AuditTrail

/// Every proof of every tree of 0 to 600 leaves, and of those around 256²: made by the product, judged by three verifiers.
@Suite("Every proof")
struct EveryProofTests {
    /// Trees, and which of their proofs there are: an inclusion proof for each leaf, a consistency proof from each size.
    private static let small = 0...600
    private static let large = [65_535, 65_536, 65_537]

    /// What was judged.
    private struct Count {
        var inclusion = 0
        var consistency = 0
        var wrong = 0

        static func + (_ one: Count, _ other: Count) -> Count {
            Count(
                inclusion: one.inclusion + other.inclusion, consistency: one.consistency + other.consistency,
                wrong: one.wrong + other.wrong)
        }
    }

    @Test(
        "sizes 0 to 600 and around 256², every index: accepted by Swift, Python and Go, and refused with a bit flipped",
        .busy)
    func everyProof() async throws {
        let place = try TemporaryDirectory()
        let tree = Tree(size: Self.large.max() ?? 0)
        let batches = stride(from: 0, through: Self.small.upperBound, by: 50).map {
            Array($0...min($0 + 49, Self.small.upperBound))
        }
        let count = try await withThrowingTaskGroup(of: Count.self) { group in
            for (number, sizes) in (batches + Self.large.map { [$0] }).enumerated() {
                group.addTask {
                    var prover = Prover(tree, seed: UInt64(number))
                    for size in sizes { try prover.judge(size) }
                    try Data(prover.file).write(to: place.url.appendingPathComponent("proofs-\(number)"))
                    return prover.count
                }
            }
            return try await group.reduce(Count(), +)
        }
        print(
            "Swift: \(count.inclusion) inclusion and \(count.consistency) consistency proofs accepted, \(count.wrong) refused"
        )
        // 1 + 2 + … + 600, and 65,535 + 65,536 + 65,537; from 0 and from the whole tree, too.
        #expect(count.inclusion == 180_300 + 196_608)
        #expect(count.consistency == 180_901 + 196_608 + 3 * 1)
        #expect(count.wrong == count.inclusion + count.consistency)

        let files = try FileManager.default.contentsOfDirectory(atPath: place.url.path).map { place.path($0) }
        async let python = Program.succeed(
            [
                "python3", "-B", projectFile("Tests/Unit/AuditTrail/every_proof.py"),
                projectFile("scripts/verify-audit.py"),
            ]
                + files)
        async let go = Self.judgeInGo(files)
        let expected =
            "\(count.inclusion) inclusion and \(count.consistency) consistency proofs accepted, \(count.wrong) refused\n"
        #expect(try await python == expected)
        if let go = try await go { #expect(go == expected) }
    }

    /// golang.org/x/mod/sumdb/tlog, by others; nil where Go is missing.
    private static func judgeInGo(_ files: [String]) async throws -> String? {
        let library = "/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog"
        guard try await Program.run(["sh", "-c", "command -v go"]).status == 0,
            FileManager.default.fileExists(atPath: library)
        else {
            print("without Go (apt-get install golang-go golang-golang-x-mod-dev)")
            return nil
        }
        return try await Program.succeed(
            [
                "GO111MODULE=off", "GOFLAGS=", "GOPATH=/usr/share/gocode", "GOCACHE=\(projectFile(".data/go"))", "go",
                "run",
            ]
                + [projectFile("Tests/Unit/AuditTrail/every_proof.go")] + files)
    }

    /// A tree whose leaves have the decimal texts of their indices as data, and the roots of those that it grew from.
    private struct Tree {
        let leaves: [[UInt8]]
        let roots: [[UInt8]]
        let hashes: MerkleTree

        init(size: Int) {
            leaves = (0..<size).map { MerkleHash.leaf(Array(String($0).utf8)) }
            var hashes = MerkleTree()
            var edge = TreeEdge()
            var roots = [edge.root]
            for (index, leaf) in leaves.enumerated() {
                hashes.insert(leaf, at: Subtree(level: 0, index: index))
                edge.append(leaf: leaf)
                roots.append(edge.root)
            }
            // Makes every perfect subtree once, so that those who copy the tree needn't.
            _ = hashes.edge(size: size)
            (self.roots, self.hashes) = (roots, hashes)
        }
    }

    /// Makes the proofs of trees, and judges them in Swift.
    private struct Prover {
        private struct Missing: Error {}

        private let tree: Tree
        private var hashes: MerkleTree
        private var random: SeededGenerator
        var count = Count()
        /// For the others: of each proof its kind, the size of its tree, its index or the old size, and its hashes.
        var file: [UInt8] = []

        init(_ tree: Tree, seed: UInt64) {
            (self.tree, hashes, random) = (tree, tree.hashes, SeededGenerator(seed: seed))
        }

        mutating func judge(_ size: Int) throws {
            let root = tree.roots[size]
            for index in 0..<size {
                guard let proof = hashes.inclusionProof(of: index, size: size) else { throw Missing() }
                let leaf = tree.leaves[index]
                func includes(_ proof: [[UInt8]]) -> Bool {
                    MerkleTree.includes(leaf: leaf, at: index, size: size, root: root, proof: proof)
                }
                if includes(proof) { count.inclusion += 1 }
                if !includes(wrong(proof)) { count.wrong += 1 }
                write("i", size, index, proof)
            }
            for old in 0...size {
                guard let proof = hashes.consistencyProof(from: old, to: size) else { throw Missing() }
                let before = tree.roots[old]
                func isConsistent(_ proof: [[UInt8]]) -> Bool {
                    MerkleTree.isConsistent(old: (old, before), new: (size, root), proof: proof)
                }
                if isConsistent(proof) { count.consistency += 1 }
                if !isConsistent(wrong(proof)) { count.wrong += 1 }
                write("c", size, old, proof)
            }
        }

        /// With one bit flipped; where there is none to flip, with a hash that doesn't belong there.
        private mutating func wrong(_ proof: [[UInt8]]) -> [[UInt8]] {
            guard !proof.isEmpty else { return [tree.roots[1]] }
            var proof = proof
            let index = Int.random(in: proof.indices, using: &random)
            proof[index][Int.random(in: 0..<32, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            return proof
        }

        private mutating func write(_ kind: Character, _ size: Int, _ index: Int, _ proof: [[UInt8]]) {
            file += kind.utf8
            for number in [size, index, proof.count] {
                withUnsafeBytes(of: UInt32(number).bigEndian) { file += $0 }
            }
            for hash in proof { file += hash }
        }
    }
}
