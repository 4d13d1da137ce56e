import Foundation
import LibPQ
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
        func replace(_ all: [String: String]) { notes.withLock { $0 = all } }
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
        // One answer a case, as the specification has it: in this order.
        let forkedEmpty = TreeHead(appID: Self.app, size: 0, root: first.head.root)
        #expect(try scene.add(Checkpoint(forkedEmpty, signer: scene.log), old: 0).status == 409, "another old size")
        #expect(try Scene().add(Checkpoint(forkedEmpty, signer: scene.log), old: 0).status == 403)
        let fresh = try Scene()
        #expect(try fresh.add(Checkpoint(forkedEmpty, signer: fresh.log), old: 0).status == 422, "no empty tree")
        let empty = TreeHead(appID: Self.app, size: 0, root: MerkleHash.ofNothing)
        #expect(try fresh.add(Checkpoint(empty, signer: fresh.log), old: 0).status == 200)
        var twice = first
        let wrong = try #require(first.note.signatures.first)
        twice.add([.init(keyName: wrong.keyName, keyID: wrong.keyID, bytes: [UInt8](repeating: 0, count: 64))])
        #expect(try scene.add(twice, old: 7).status == 403, "one of two signatures of the key is wrong")
        let strange = try Checkpoint(first.head, signer: stranger).note.signatures
        var foreign = first
        foreign.add(strange)
        #expect(try scene.add(foreign, old: 7).status == 200, "signatures of strangers don't matter")
        scene.store.replace(before)

        for body in [
            "", "old 7", "old 7\n\n\n" + first.text, "old 7\n\n" + first.text + "\n", "old 07\n\n" + first.text,
            "old 7\nAAAA\n\n" + first.text, "old 7\n\nnothing\n",
        ] {
            #expect(try scene.post(body).status == 400, "\(body)")
        }
        #expect(scene.store.all == before)
    }

    @Test("a key stands for the origins of its name and an app alone, not for those of keys whose names begin with it")
    func nestedNames() throws {
        let (outer, inner) = (
            try #require(NoteSigner(generating: "example.com")),
            try #require(NoteSigner(generating: "example.com/trail"))
        )
        let scene = try Scene()
        let witness = Witness(signer: scene.signer, logs: [outer.verifier, inner.verifier], store: scene.store)
        let root = MerkleHash.leaf([1])
        func status(_ origin: String, by key: NoteSigner) throws -> Int {
            let note = try key.sign("\(origin)\n1\n\(Data(root).base64EncodedString())\n")
            let body = CheckpointSubmission(old: 0, proof: [], note: note).text
            return try witness.answer(method: "POST", path: "/add-checkpoint", body: body, time: 1_700_000_000).status
        }
        let nested = "example.com/trail/\(Self.app)"
        #expect(try status(nested, by: outer) == 403)
        for origin in [
            "example.com", "example.com/trail", nested.uppercased(), "example.com/trail/\(Self.app.uppercased())",
            "/\(Self.app)", "\(nested)/\(Self.app)", "example.com/trail/", "\(nested) ",
        ] {
            for key in [outer, inner] { #expect(try status(origin, by: key) == 404, "\(origin)") }
        }
        #expect(scene.store.all.isEmpty)
        #expect(try status(nested, by: inner) == 200)
        #expect(try status("example.com/\(Self.app)", by: outer) == 200)

        // The log's key was replaced, and then that of the witness: the other signature still shows what was cosigned.
        let replaced = try #require(NoteSigner(generating: "example.com/trail"))
        let other = try #require(NoteSigner(generating: "witness.example/w"))
        for (signer, log, answer) in [(scene.signer, replaced, 200), (other, inner, 200)] {
            let later = Witness(signer: signer, logs: [log.verifier], store: scene.store)
            let note = try log.sign("\(nested)\n1\n\(Data(root).base64EncodedString())\n")
            let body = CheckpointSubmission(old: 1, proof: [], note: note).text
            let before = scene.store.all
            let answered = try later.answer(method: "POST", path: "/add-checkpoint", body: body, time: 1_700_000_000)
            #expect(answered.status == answer)
            scene.store.replace(before)
        }
    }

    @Test("what it remembers was damaged: it cosigns nothing and shows nothing")
    func damaged() throws {
        let scene = try Scene()
        #expect(try scene.add(scene.checkpoint(7, of: Self.leaves), old: 0).status == 200)
        let (name, note) = try #require(scene.store.all.first)
        let other = note.replacingOccurrences(of: Self.app, with: "00000000-0000-0000-0000-000000000000")
        // Signed by none: the log's signature and that of this witness are wrong, or were replaced by those of others.
        let shorter = note.replacingOccurrences(of: "\n7\n", with: "\n3\n")
        let stranger = try #require(NoteSigner(generating: "example.com/trail"))
        let unsigned = try scene.checkpoint(3, of: Self.leaves, by: stranger).text
        for contents in ["", "x", String(note.dropLast(20)), note + "\n" + note, other, shorter, unsigned] {
            scene.store.write(name, contents)
            for old in [0, 7] {
                #expect(throws: Witness.Damaged.self) {
                    try scene.add(scene.checkpoint(7, of: Self.leaves), old: old)
                }
            }
            #expect(throws: Witness.Damaged.self) {
                try scene.witness.answer(method: "GET", path: "/\(name)/checkpoint", body: "", time: 0)
            }
            #expect(scene.store.all == [name: contents])
        }
    }

    @Test(
        "a witness that says 409 without another size has cosigned another tree of that size, as version 1.0.0 says it")
    func refusals() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(10, customers: 5)
        let connection = try await fixture.database.connect(as: "customerd_auditor")
        let log = try #require(NoteSigner(generating: "example.com/trail"))
        let ask = WitnessRequest(connection: connection, deadline: .now + .seconds(60))
        let head = TreeHead(appID: Self.app, size: 10, root: MerkleHash.leaf([1]))
        let checkpoint = try Checkpoint(head, signer: log)
        for (last, isRefusal) in [(409, true), (422, true), (500, false)] {
            var asked: [Int] = []
            let outcome = try await ask(checkpoint) { body in
                asked.append(try CheckpointSubmission(body).old)
                return .init(status: asked.count == 1 ? 409 : last, body: "10\n")
            }
            #expect(asked == [0, 10])
            switch outcome {
            case .refused: #expect(isRefusal, "\(last)")
            case .unavailable: #expect(!isRefusal, "\(last)")
            case .cosigned: Issue.record("\(last)")
            }
        }
        await connection.close()
        try await fixture.drop()
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

    /// `customerd audit witness`, which knows one log.
    private struct RunningWitness {
        let place: TemporaryDirectory
        let log: CheckpointKey
        let key: CheckpointKey
        let program: [String]
        let process: ChildProcess
        let url: String

        init(_ options: [String] = []) async throws {
            (log, key) = (try await CheckpointKey(), try await CheckpointKey(name: "witness.example/w"))
            place = try TemporaryDirectory()
            try place.write("logs", log.publicKey + "\n")
            program =
                [
                    Customerd.path, "audit", "witness", "--key", key.path, "--state", place.path("state"), "--listen",
                    "127.0.0.1:0", "--log-key", place.path("logs"), "--json",
                ] + options
            let started = try ChildProcess(program, environment: Customerd.environment([:]))
            try await eventually("the witness listens") { started.output.hasSuffix("\n") }
            url = String(try #require(started.output.firstMatch(of: /"url":"([^"]+)"/)?.1))
            process = started
        }

        func sign(
            _ fixture: TrailFixture, _ name: String, witnessed: Bool = true, _ options: [String] = []
        ) async throws -> Customerd.Ended {
            let options = (witnessed ? ["--witness", url] : []) + options
            return try await Customerd.run(
                ["audit", "checkpoint", "--key", log.path, "--out", place.path(name)] + options,
                ["DATABASE_URL": fixture.database.url()])
        }

        func verify(_ fixture: TrailFixture, _ name: String) async throws -> Customerd.Ended {
            let keys = ["--public-key", log.publicKey, "--witness-key", key.publicKey]
            return try await Customerd.run(
                ["audit", "verify", "--checkpoint", place.path(name)] + keys,
                ["DATABASE_URL": fixture.database.url()])
        }

        func stop() async {
            process.send(signal: SIGTERM)
            #expect(await process.exitStatus(within: .seconds(10)) == 0)
        }
    }

    @Test("of the same checkpoint from many at once, one is cosigned and the others are told the size")
    func simultaneous() async throws {
        let running = try await RunningWitness()
        let signer = try NoteSigner(String(contentsOfFile: running.log.path, encoding: .utf8), pemName: "")
        let scene = try Scene()
        let body = CheckpointSubmission(
            old: 0, proof: [], note: try scene.checkpoint(7, of: Self.leaves, by: signer).note
        ).text
        let port = try #require(running.url.split(separator: ":").last.flatMap { Int($0) })

        let answers = try await simultaneously(20) { _ in
            try await HTTPCall("POST", "/add-checkpoint", body: body, fresh: true).send(to: port)
        }

        #expect(answers.count { $0.status == 200 && $0.body.hasPrefix("\u{2014} witness.example/w ") } == 1)
        let others = answers.filter { $0.status == 409 && $0.body == "7\n" }
        #expect(others.count == 19 && others[0].values(of: "content-type") == ["text/x.tlog.size"])
        await running.stop()
    }

    @Test("over HTTPS the witness's certificate has to be valid, and its cosignature has to be that of the given key")
    func secure() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(10, customers: 5)
        let certificate = try SelfSignedCertificate()
        let running = try await RunningWitness([
            "--tls-certificate", certificate.certificate, "--tls-key", certificate.key,
        ])
        #expect(running.url.hasPrefix("https://127.0.0.1:"))
        let trusted = ["--witness-ca", certificate.certificate]

        // Authorities of the system don't know it, nor does another one.
        let other = try SelfSignedCertificate()
        for options in [[], ["--witness-ca", other.certificate]] {
            let unknown = try await running.sign(fixture, "unknown", options)
            #expect(
                unknown.status == 1 && unknown.errors.contains("its certificate isn't trusted"), "\(unknown.errors)")
        }
        let stranger = try await CheckpointKey(name: "witness.example/w")
        let wrong = try await running.sign(fixture, "wrong", trusted + ["--witness-key", stranger.publicKey])
        #expect(wrong.status == 1 && wrong.errors.contains("without a valid cosignature"), "\(wrong.errors)")
        #expect(try await running.verify(fixture, "wrong").status == 1)

        let right = try await running.sign(fixture, "right", trusted + ["--witness-key", running.key.publicKey])
        #expect(right.status == 0, "\(right.errors)")
        #expect(try await running.verify(fixture, "right").status == 0)
        let broken = try await running.sign(fixture, "broken", ["--witness-ca", running.log.path])
        #expect(broken.status == 2 && broken.errors.contains("no certificate"), "\(broken.errors)")
        await running.stop()
        try await fixture.drop()
    }

    @Test("a certificate for another name isn't taken for the witness's")
    func otherName() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(10, customers: 5)
        let certificate = try SelfSignedCertificate(name: "elsewhere.example")
        let running = try await RunningWitness([
            "--tls-certificate", certificate.certificate, "--tls-key", certificate.key,
        ])
        let ended = try await running.sign(fixture, "checkpoint", ["--witness-ca", certificate.certificate])
        #expect(ended.status == 1 && ended.errors.contains("its certificate is for another name"), "\(ended.errors)")
        await running.stop()
        try await fixture.drop()
    }

    @Test("settings with which a witness can't be: exit 2, and no key is shown")
    func settings() async throws {
        let key = try await CheckpointKey(name: "witness.example/w")
        let place = try TemporaryDirectory()
        try place.write("logs", key.publicKey)
        let secret = try String(contentsOfFile: key.path, encoding: .utf8)
        try place.write("mixed", "\(key.publicKey)\n\n\(secret)")
        let usual = ["--key": key.path, "--state": place.path("state"), "--listen": "127.0.0.1:0"]
        for (option, value, reason) in [
            ("--log-key", "mixed", "in line 3"), ("--log-key", "none", "can't be read"),
            ("--key", "logs", "signing key"),
            ("--listen", "127.0.0.1", "host:port"), ("--listen", "nowhere.invalid:0", "no such host"),
            ("--listen", "203.0.113.7:1", "Can't listen"), ("--state", "logs", "can't be used"),
            ("--tls-key", "logs", "need each other"),
        ] {
            var options = usual.merging(["--log-key": place.path("logs")]) { $1 }
            options[option] = option == "--listen" ? value : place.path(value)
            let ended = try await Customerd.run(
                ["audit", "witness", "--json"] + options.flatMap { [$0.key, $0.value] })
            #expect(ended.status == 2 && ended.errors.contains(reason), "\(option) \(value): \(ended.errors)")
            #expect(!(ended.errors + ended.output).contains("PRIVATE"), "\(option) \(value)")
        }
    }

    /// A chain beside the cosigned one has no cosigned checkpoint: that is said, in the database, and of exports by both programs.
    private func everyChainIsCosigned(_ fixture: TrailFixture, _ running: RunningWitness) async throws {
        let other = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a12"
        try await fixture.append(10, app: other, customers: 5)
        let environment = ["DATABASE_URL": fixture.database.url()]
        let keys = ["--public-key", running.log.publicKey, "--witness-key", running.key.publicKey]
        let given = ["--checkpoint", running.place.path("second")] + keys
        let export = try running.place.write("export", try await Customerd.succeed(["audit", "export"], environment))
        let script = ["python3", projectFile("scripts/verify-audit.py"), export]
        for options in [keys, given] {
            let ended = try await Customerd.run(["audit", "verify", "--json"] + options, environment)
            let answer = try VerifierAnswer(ended.output)
            #expect(ended.status == 1 && answer.brokenApp == other && answer.verified == 610, "\(answer)")
        }
        let offline = try await Customerd.run(["audit", "verify", "--json", "--export", export] + given)
        let python = try await Program.run(script + given)
        #expect(offline.status == 1 && python.status == 1 && offline.output == python.output, "\(python.output)")
        for options in [["--public-key", running.log.publicKey], ["--witness-key", running.key.publicKey]] {
            let useless = try await Program.run(script + options)
            #expect(useless.status == 2 && useless.errors.contains("need --checkpoint"), "\(useless.output)")
        }
        try await fixture.alter(
            "DELETE FROM audit.entries WHERE app_id = '\(other)'; DELETE FROM audit.heads WHERE app_id = '\(other)'")
        #expect(try await running.verify(fixture, "second").status == 0)
    }

    @Test("an operator who rewrites history: the witness refuses, nothing is signed, and verify wants its cosignature")
    func rewrittenHistory() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(300, customers: 50)
        let running = try await RunningWitness()
        let place = running.place
        func sign(_ name: String, witnessed: Bool = true) async throws -> Customerd.Ended {
            try await running.sign(fixture, name, witnessed: witnessed)
        }
        func verify(_ name: String) async throws -> Customerd.Ended { try await running.verify(fixture, name) }
        #expect(try await sign("first").status == 0)
        try await fixture.append(300, customers: 50, from: 300)
        #expect(try await sign("second").status == 0)
        #expect(try await verify("second").status == 0)
        func verify(_ options: [String]) async throws -> Customerd.Ended {
            try await Customerd.run(
                ["audit", "verify", "--json"] + options, ["DATABASE_URL": fixture.database.url()])
        }
        for options in [["--public-key", running.log.publicKey], ["--witness-key", running.key.publicKey]] {
            let whole = try await verify(options)
            #expect(whole.status == 0 && whole.errors.isEmpty, "\(whole.output) \(whole.errors)")
        }
        try await everyChainIsCosigned(fixture, running)
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
        // No checkpoint is left that could say anything.
        let (keyed, witnessed) = (["--public-key", running.log.publicKey], ["--witness-key", running.key.publicKey])
        for options in [witnessed, keyed + witnessed, keyed + witnessed + ["--app", TrailFixture.app]] {
            let bare = try await verify(options)
            let answer = try VerifierAnswer(bare.output)
            #expect(bare.status == 1 && answer.verified == 700 && answer.brokenAt == nil, "\(bare.output)")
            #expect(answer.brokenApp == TrailFixture.app, "\(bare.output)")
            #expect(answer.reason?.contains("cosigned by witness.example/w") == true, "\(bare.output)")
        }
        let unwitnessed = try await verify(keyed)
        #expect(unwitnessed.status == 0, "a chain may not have been signed yet")
        let said = "Not compared with a checkpoint that this key signed: 1 chain (app \(TrailFixture.app))"
        #expect(unwitnessed.errors.contains(said), "\(unwitnessed.errors)")
        #expect(try Self.files(in: place.path("state")) == state)

        #expect(try await sign("alone", witnessed: false).status == 0)
        let alone = try await verify("alone")
        #expect(alone.status == 1 && alone.output.contains("isn't cosigned"), "\(alone.output)")
        let again = try await Customerd.run(Array(running.program.dropFirst()))
        #expect(again.status == 2 && again.errors.contains("another witness"))
        await running.stop()
        let missing = try await sign("late")
        #expect(missing.status == 1 && missing.errors.contains("can't be reached"), "\(missing.errors)")
        #expect(try place.read("late").contains("\n700\n"))
        try await fixture.drop()
    }
}
