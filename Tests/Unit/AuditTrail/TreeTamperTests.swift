import Foundation
import TestSupport
import Testing

@testable import AuditTrail

/// What can be done to the tree of a chain, to its checkpoints and to certificates.
@Suite("Alterations of the tree")
struct TreeTamperTests {
    /// A chain with redactions, its nodes, and a checkpoint with a cosignature.
    private struct Scene {
        let rows: [ChainRow]
        let head: ChainHead
        let nodes: [TreeNode]
        let log: NoteSigner
        let witness: NoteSigner
        let checkpoint: Checkpoint

        init() async throws {
            let fixture = try await TrailFixture.make()
            try await fixture.append(700, customers: 200)
            try await fixture.redact(0..<100)
            let environment = ["DATABASE_URL": fixture.database.url()]
            let export = try await Customerd.succeed(["audit", "export"], environment)
            try await fixture.drop()
            let items = try export.split(separator: "\n").map { try ExportLine($0.utf8) }
            rows = items.compactMap(\.row)
            head = try #require(items.last?.head)
            var edge = TreeEdge()
            nodes = rows.flatMap { edge.append(leaf: MerkleHash.leaf($0.bytes(.hash) ?? [])) }
            log = try #require(NoteSigner(generating: "example.com/trail"))
            witness = try #require(NoteSigner(generating: "witness.example/w"))
            var checkpoint = try Checkpoint(ChainForger.tree(rows, app: TrailFixture.app), signer: log)
            checkpoint.add([try witness.cosign(checkpoint.note.text, time: 1_700_000_000)])
            self.checkpoint = checkpoint
        }

        /// As the verifier of a database feeds its walk.
        func verdict(_ nodes: [TreeNode], _ checkpoints: Checkpoints) -> ChainVerdict {
            var walk = ChainWalk(checkpoints: checkpoints.heads)
            walk.take(nodes, of: TrailFixture.app)
            for row in rows { walk.take(ChainEntry(row)) }
            walk.take(head)
            return walk.finish().weighing(checkpoints)
        }

        func checkpoints(_ contents: String) -> Checkpoints {
            Checkpoints(
                contents, app: nil, trusting: CheckpointTrust(log.verifier, witnesses: [witness.witnessKey]))
        }

        /// The certificate of an entry that isn't erased.
        func certificate() throws -> String {
            let index = try #require(rows.firstIndex { $0[.subjectSalt] != nil && $0[.beforeImage] != nil })
            var tree = MerkleTree()
            for (index, row) in rows.enumerated() {
                tree.insert(MerkleHash.leaf(row.bytes(.hash) ?? []), at: Subtree(level: 0, index: index))
            }
            let hashes = tree.inclusionProof(of: index, size: rows.count)
            let proof = InclusionProof(index: index, hashes: try #require(hashes), checkpoint: checkpoint)
            return Certificate(rows[index], disclosing: [.subject, .context], proof: proof).json.text
        }
    }

    @Test("1,000 random alterations of nodes, checkpoints, cosignatures and certificates are found", .busy)
    func everyAlterationIsFound() async throws {
        var random = SeededGenerator(seed: 18)
        let scene = try await Scene()
        let text = scene.checkpoint.text
        #expect(scene.verdict(scene.nodes, scene.checkpoints(text)).broken == nil)

        var found = 0
        for number in 0..<300 {
            let nodes = Self.altered(scene.nodes, number, &random)
            if scene.verdict(nodes, scene.checkpoints(text)).broken != nil { found += 1 }
        }
        #expect(found == 300, "nodes")
        for _ in 0..<300 {
            let altered = scene.checkpoints(Self.altered(text, &random))
            if altered.fault != nil || scene.verdict(scene.nodes, altered).broken != nil { found += 1 }
        }
        #expect(found == 600, "checkpoints and their cosignatures")

        let certificate = try scene.certificate()
        #expect(try Certificate(certificate).fault(scene.log.verifier, witnesses: [scene.witness.witnessKey]) == nil)
        let certificates = (0..<400).map { _ in Self.altered(certificate, &random) }
        for text in certificates {
            let altered = try? Certificate(text)
            let fault = altered?.fault(scene.log.verifier, witnesses: [scene.witness.witnessKey])
            if altered == nil || fault != nil { found += 1 }
        }
        #expect(found == 1000, "certificates")
        #expect(try await Self.validForPython([certificate], scene) == "1 of 1 are valid\n")
        #expect(try await Self.validForPython(certificates, scene) == "0 of 400 are valid\n")
        print("alterations of the tree found: \(found) of 1,000")
    }

    private static func altered(_ nodes: [TreeNode], _ number: Int, _ random: inout SeededGenerator) -> [TreeNode] {
        var nodes = nodes
        let index = Int.random(in: nodes.indices, using: &random)
        let node = nodes[index]
        switch number % 4 {
        case 0: nodes.remove(at: index)
        case 1:
            var hash = node.hash
            hash[Int.random(in: 0..<32, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            nodes[index] = TreeNode(place: node.place, hash: hash)
        case 2:
            let level = Int.random(in: 1...7, using: &random)
            let place = Subtree(level: level, index: .random(in: 3...99, using: &random))
            nodes.append(TreeNode(place: place, hash: node.hash))
        default:
            let other = (index + 1) % nodes.count
            nodes[index] = TreeNode(place: node.place, hash: nodes[other].hash)
            nodes[other] = TreeNode(place: nodes[other].place, hash: node.hash)
        }
        return nodes
    }

    /// The text with another character in place of one.
    private static func altered(_ text: String, _ random: inout SeededGenerator) -> String {
        let original = Array(text.utf8)
        while true {
            var bytes = original
            bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0x20...0x7E, using: &random)
            // The last line feed is no part of a signature.
            guard bytes != original, bytes.last == original.last else { continue }
            if let text = String(validating: bytes, as: UTF8.self) { return text }
        }
    }

    private static func validForPython(_ certificates: [String], _ scene: Scene) async throws -> String {
        let place = try TemporaryDirectory()
        let path = try place.write("certificates", certificates.joined(separator: "\n"))
        return try await Program.succeed([
            "python3", "-B", projectFile("Tests/Unit/AuditTrail/certificates.py"),
            projectFile("scripts/verify-audit.py"),
            path, try #require(scene.log.verifier.text), scene.witness.witnessKey.text,
        ])
    }
}
