import Foundation
import Synchronization
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

@testable import AuditTrail

/// Source: C2SP, tlog-witness, "add-checkpoint".
@Suite("Witnesses")
struct WitnessTests {
    private static let app = TrailFixture.app

    /// A log of its own, a witness that knows it, and what the witness remembers.
    private struct Scene {
        let log: NoteSigner
        let signer: NoteSigner
        let witness: Witness
        let store = Memory()

        init() throws {
            log = try #require(NoteSigner(generating: "example.com/trail"))
            signer = try #require(NoteSigner(generating: "witness.example/w"))
            witness = Witness(signer: signer, logs: [log.verifier], store: store)
        }

        func checkpoint(_ size: Int, of leaves: [String], by signer: NoteSigner? = nil) throws -> Checkpoint {
            var edge = TreeEdge()
            for leaf in leaves.prefix(size) { edge.append(leaf: MerkleHash.leaf(Array(leaf.utf8))) }
            return try Checkpoint(
                TreeHead(appID: WitnessTests.app, size: size, root: edge.root), signer: signer ?? log)
        }

        func proof(from old: Int, to new: Int, of leaves: [String]) throws -> [[UInt8]] {
            var tree = MerkleTree()
            for (index, leaf) in leaves.enumerated() {
                tree.insert(MerkleHash.leaf(Array(leaf.utf8)), at: Subtree(level: 0, index: index))
            }
            let proof = tree.consistencyProof(from: old, to: new)
            return try #require(proof)
        }

        func add(_ checkpoint: Checkpoint, old: Int, proof: [[UInt8]] = []) throws -> Witness.Answer {
            try post(CheckpointSubmission(old: old, proof: proof, note: checkpoint.note).text)
        }

        func post(_ body: String) throws -> Witness.Answer {
            try witness.answer(method: "POST", path: "/add-checkpoint", body: body, time: 1_700_000_000)
        }
    }

    private final class Memory: Witness.Store {
        private let notes = Mutex<[String: String]>([:])

        func read(_ name: String) -> String? { notes.withLock { $0[name] } }
        func write(_ name: String, _ note: String) { notes.withLock { $0[name] = note } }
        var all: [String: String] { notes.withLock { $0 } }
    }

    private static let leaves = (0..<20).map { "leaf \($0)" }
    private static let rewritten = (0..<20).map { $0 == 3 ? "another" : "leaf \($0)" }

    @Test("it cosigns what continues the last checkpoint, remembers it, and shows it")
    func cosigns() throws {
        let scene = try Scene()
        let first = try scene.checkpoint(7, of: Self.leaves)
        #expect(try scene.add(first, old: 0).status == 200)
        let second = try scene.checkpoint(20, of: Self.leaves)
        let answer = try scene.add(second, old: 7, proof: scene.proof(from: 7, to: 20, of: Self.leaves))
        #expect(answer.status == 200)
        let note = try SignedNote.notes(in: second.note.text + "\n" + answer.body)[0]
        #expect(scene.signer.witnessKey.cosigned(note) == true)
        // The line is one of the witness's key, also as keygen prints it.
        #expect(try WitnessKey(#require(scene.signer.verifier.text)).cosigned(note) == true)
        #expect(try WitnessKey(scene.signer.witnessKey.text).text == scene.signer.witnessKey.text)

        let name = try #require(scene.store.all.keys.first)
        let shown = try scene.witness.answer(method: "GET", path: "/\(name)/checkpoint", body: "", time: 0)
        #expect(shown.status == 200 && shown.body.hasPrefix(second.note.text))
        let known = try SignedNote.notes(in: shown.body)[0]
        #expect(scene.log.verifier.verifies(known) == true && scene.signer.witnessKey.cosigned(known) == true)
        #expect(try scene.add(second, old: 20).status == 200, "the same again")
        let other = String(repeating: "0", count: 64)
        #expect(try scene.witness.answer(method: "GET", path: "/\(other)/checkpoint", body: "", time: 0).status == 404)
    }

    @Test("it refuses what it can't know to be consistent, and then remembers what it did before")
    func refuses() throws {
        let scene = try Scene()
        let stranger = try #require(NoteSigner(generating: "example.com/other"))
        let impostor = try #require(NoteSigner(generating: "example.com/trail"))
        let first = try scene.checkpoint(7, of: Self.leaves)
        #expect(try scene.add(first, old: 0, proof: [first.head.root]).status == 422, "a proof from nothing")
        #expect(try scene.add(first, old: 3).status == 409)
        #expect(try scene.add(first, old: 8).status == 400)
        #expect(try scene.add(scene.checkpoint(7, of: Self.leaves, by: stranger), old: 0).status == 404)
        #expect(try scene.add(scene.checkpoint(7, of: Self.leaves, by: impostor), old: 0).status == 403)
        let forged = first.note.description.replacingOccurrences(of: "\n7\n", with: "\n8\n")
        #expect(try scene.post("old 0\n\n" + forged).status == 403)
        #expect(try scene.add(first, old: 0).status == 200)
        let before = scene.store.all

        let rewritten = try scene.checkpoint(20, of: Self.rewritten)
        for leaves in [Self.leaves, Self.rewritten] {
            let proof = try scene.proof(from: 7, to: 20, of: leaves)
            #expect(try scene.add(rewritten, old: 7, proof: proof).status == 422)
        }
        #expect(try scene.add(rewritten, old: 0).body == "7\n")
        #expect(try scene.add(scene.checkpoint(7, of: Self.rewritten), old: 7).status == 422)
        let shorter = try scene.add(scene.checkpoint(5, of: Self.leaves), old: 5)
        #expect(shorter.status == 409 && shorter.contentType == "text/x.tlog.size")
        for body in ["", "old 7", "old 07\n\n" + first.text, "old 7\nAAAA\n\n" + first.text, "old 7\n\nnothing\n"] {
            #expect(try scene.post(body).status == 400, "\(body)")
        }
        #expect(scene.store.all == before)
    }

    @Test("a cosignature that was changed, or is another's, doesn't count")
    func cosignatures() throws {
        let scene = try Scene()
        var checkpoint = try scene.checkpoint(7, of: Self.leaves)
        let key = scene.signer.witnessKey
        #expect(checkpoint.fault(scene.log.verifier, [key])?.contains("isn't cosigned") == true)
        let cosignature = try scene.signer.cosign(checkpoint.note.text, time: 1_700_000_000)
        checkpoint.add([cosignature])
        #expect(checkpoint.fault(scene.log.verifier, [key]) == nil)
        let other = try #require(NoteSigner(generating: "witness.example/w")).witnessKey
        #expect(checkpoint.fault(scene.log.verifier, [key, other]) != nil)
        for index in cosignature.bytes.indices {
            var bytes = cosignature.bytes
            bytes[index] ^= 1
            var changed = try scene.checkpoint(7, of: Self.leaves)
            changed.add([.init(keyName: cosignature.keyName, keyID: cosignature.keyID, bytes: bytes)])
            #expect(changed.fault(scene.log.verifier, [key]) != nil, "byte \(index)")
        }
    }

    private static func files(in directory: String) throws -> [String: String] {
        let names = try FileManager.default.contentsOfDirectory(atPath: directory)
        return try Dictionary(
            uniqueKeysWithValues: names.map { ($0, try String(contentsOfFile: "\(directory)/\($0)", encoding: .utf8)) })
    }

    @Test("an operator who rewrites history: the witness refuses, nothing is signed, and verify wants its cosignature")
    func rewrittenHistory() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(300, customers: 50)
        let place = try TemporaryDirectory()
        let (log, cosigner) = (try await CheckpointKey(), try await CheckpointKey(name: "witness.example/w"))
        try place.write("logs", log.publicKey + "\n")
        let program = [
            Customerd.path, "audit", "witness", "--key", cosigner.path, "--state", place.path("state"), "--listen",
            "127.0.0.1:0", "--log-key", place.path("logs"), "--json",
        ]
        let started = try ChildProcess(program, environment: Customerd.environment([:]))
        try await eventually("the witness listens") { started.output.hasSuffix("\n") }
        let url = try #require(started.output.firstMatch(of: /"url":"([^"]+)"/)?.1)
        let environment = ["DATABASE_URL": fixture.database.url()]
        func sign(_ name: String, witnessed: Bool = true) async throws -> Customerd.Ended {
            let options = witnessed ? ["--witness", String(url)] : []
            return try await Customerd.run(
                ["audit", "checkpoint", "--key", log.path, "--out", place.path(name)] + options, environment)
        }
        func verify(_ name: String) async throws -> Customerd.Ended {
            let keys = ["--public-key", log.publicKey, "--witness-key", cosigner.publicKey]
            return try await Customerd.run(["audit", "verify", "--checkpoint", place.path(name)] + keys, environment)
        }
        #expect(try await sign("first").status == 0)
        try await fixture.append(300, customers: 50, from: 300)
        #expect(try await sign("second").status == 0)
        #expect(try await verify("second").status == 0)
        let state = try Self.files(in: place.path("state"))

        // All that the operator can reach is rewritten, the kept checkpoints and the file included.
        try await fixture.alter(
            """
            DELETE FROM audit.checkpoints; DELETE FROM audit.nodes; DELETE FROM audit.entries; DELETE FROM audit.heads
            """)
        try await fixture.append(700, customers: 40)
        let refused = try await sign("third")
        #expect(refused.status == 1 && refused.errors.contains("refuses"), "\(refused.errors)")
        #expect(!FileManager.default.fileExists(atPath: place.path("third")))
        #expect(try await fixture.database.value("SELECT count(*) FROM audit.checkpoints") == "0")
        #expect(try Self.files(in: place.path("state")) == state)

        #expect(try await sign("alone", witnessed: false).status == 0)
        let alone = try await verify("alone")
        #expect(alone.status == 1 && alone.output.contains("isn't cosigned"), "\(alone.output)")
        let again = try await Customerd.run(program.dropFirst().map { $0 }, environment)
        #expect(again.status == 2 && again.errors.contains("another witness"))
        started.send(signal: SIGTERM)
        #expect(await started.exitStatus(within: .seconds(10)) == 0)
        let missing = try await sign("late")
        #expect(missing.status == 1 && missing.errors.contains("can't be reached"), "\(missing.errors)")
        #expect(try place.read("late").contains("\n700\n"))
        try await fixture.drop()
    }
}
