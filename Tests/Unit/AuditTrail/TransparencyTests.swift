import Foundation
import LibPQ
import TestSupport
import Testing

@testable import AuditTrail

/// The tree over a chain, as commands make and verify it.
@Suite("Tree, checkpoints, certificates")
struct TransparencyTests {
    private static let app = TrailFixture.app

    /// A chain, and how an auditor gets at it.
    private struct Scene {
        let fixture: TrailFixture
        let place: TemporaryDirectory
        let key: CheckpointKey

        static func make(_ count: Int) async throws -> Scene {
            let fixture = try await TrailFixture.make()
            try await fixture.append(count, customers: 50)
            return Scene(fixture: fixture, place: try TemporaryDirectory(), key: try await CheckpointKey())
        }

        func run(_ arguments: [String]) async throws -> Customerd.Ended {
            try await Customerd.run(
                ["audit"] + arguments, ["DATABASE_URL": fixture.database.url(user: "customerd_auditor")])
        }

        @discardableResult
        func succeed(_ arguments: [String]) async throws -> String {
            let ended = try await run(arguments)
            #expect(ended.status == 0, "\(arguments): \(ended.errors)")
            return ended.output
        }

        /// Signs the chain into a file.
        @discardableResult
        func sign(_ name: String = "checkpoint", _ options: [String] = []) async throws -> String {
            try await succeed(["checkpoint", "--key", key.path, "--out", place.path(name)] + options)
            return place.path(name)
        }

        func verdict(_ options: [String] = []) async throws -> VerifierAnswer {
            try VerifierAnswer(try await run(["verify", "--json"] + options).output)
        }

        func count(_ sql: String) async throws -> Int? {
            try await fixture.database.value(sql).flatMap { Int($0) }
        }

        func entry(_ seq: Int) async throws -> String {
            let sql = "SELECT id FROM audit.entries WHERE app_id = '\(TransparencyTests.app)' AND seq = \(seq)"
            return try #require(try await fixture.database.value(sql))
        }
    }

    @Test("each full tile becomes a node with the last of its entries; redactions leave the nodes as they are")
    func nodes() async throws {
        let scene = try await Scene.make(255)
        #expect(try await scene.count("SELECT count(*) FROM audit.nodes") == 0)
        try await scene.fixture.append(258, customers: 50, from: 255)
        #expect(try await scene.count("SELECT count(*) FROM audit.nodes") == 2)
        #expect(try await scene.verdict().reason == nil)
        let before = try await scene.fixture.database.rows("SELECT index, hash FROM audit.nodes ORDER BY index")
        try await scene.fixture.redact(0..<20)
        #expect(try await scene.fixture.database.rows("SELECT index, hash FROM audit.nodes ORDER BY index") == before)
        #expect(try await scene.verdict() == VerifierAnswer(#"{"entries":533,"verified":533}"#))
        try await scene.fixture.drop()
    }

    @Test("verify names the first node that is wrong, missing or too many")
    func wrongNodes() async throws {
        let scene = try await Scene.make(600)
        try await scene.fixture.database.run("CREATE TABLE fixture.nodes AS TABLE audit.nodes")
        let app = Self.app
        for (alteration, seq, node) in [
            ("UPDATE audit.nodes SET hash = sha256('x') WHERE index = 1", 512, "1/1"),
            ("UPDATE audit.nodes SET hash = sha256('x')", 256, "1/0"),
            ("DELETE FROM audit.nodes WHERE index = 0", 256, "1/0"), ("DELETE FROM audit.nodes", 256, "1/0"),
            ("INSERT INTO audit.nodes VALUES ('\(app)', 1, 2, sha256('x'))", 601, "audit.nodes"),
            ("INSERT INTO audit.nodes VALUES ('\(app)', 2, 0, sha256('x'))", 601, "2/0"),
            ("UPDATE audit.nodes SET index = 7 WHERE index = 1", 512, "1/1"),
        ] {
            try await scene.fixture.alter(alteration)
            let answer = try await scene.verdict()
            #expect(answer.brokenAt == seq && answer.reason?.contains(node) == true, "\(alteration): \(answer)")
            try await scene.fixture.alter("DELETE FROM audit.nodes; INSERT INTO audit.nodes TABLE fixture.nodes")
        }
        #expect(try await scene.verdict().reason == nil)
        try await scene.fixture.drop()
    }

    @Test("a checkpoint is kept in the database once, and one that was altered there is found")
    func kept() async throws {
        let scene = try await Scene.make(30)
        try await scene.sign()
        try await scene.sign()
        #expect(try await scene.count("SELECT count(*) FROM audit.checkpoints") == 1)
        #expect(
            try await scene.fixture.database.value("SELECT public_key FROM audit.checkpoints") == scene.key.publicKey)
        try await scene.fixture.database.run("CREATE TABLE fixture.checkpoints AS TABLE audit.checkpoints")
        for alteration in [
            "size = 29", "root = sha256('x')", "public_key = 'x'", "note = replace(note, E'\\n30\\n', E'\\n29\\n')",
            "size = 29, note = replace(note, E'\\n30\\n', E'\\n29\\n')", "note = ''", "size = 31",
        ] {
            try await scene.fixture.alter("UPDATE audit.checkpoints SET \(alteration)")
            #expect(try await scene.verdict().reason != nil, "\(alteration)")
            try await scene.fixture.alter(
                "DELETE FROM audit.checkpoints; INSERT INTO audit.checkpoints TABLE fixture.checkpoints")
        }
        #expect(try await scene.verdict().reason == nil)
        for sql in ["UPDATE audit.checkpoints SET size = 1", "TRUNCATE audit.nodes", "DELETE FROM audit.checkpoints"] {
            #expect(try await scene.fixture.database.sqlstate(sql, as: "postgres") == "42501", "\(sql)")
        }
        try await scene.fixture.drop()
    }

    @Test("newer checkpoints continue older ones, or it is said where they don't")
    func comparison() async throws {
        let scene = try await Scene.make(300)
        let old = try await scene.sign("old")
        try await scene.fixture.append(300, customers: 50, from: 300)
        let new = try await scene.sign("new", ["--incremental"])
        let key = ["--public-key", scene.key.publicKey]

        let forwards = try await scene.verdict(["--from", old, "--to", new] + key)
        #expect(forwards == (try VerifierAnswer(#"{"entries":600,"verified":600}"#)))
        #expect(try await scene.run(["verify", "--from", new, "--to", old] + key).status == 1)
        #expect(try await scene.run(["verify", "--from", old] + key).status == 2)
        let nothing = try await scene.verdict(["--from", old, "--to", new, "--app", newID()] + key)
        #expect(nothing.reason == "there is no checkpoint to compare")

        // A history that was rewritten, checkpoints of it included, doesn't continue what was signed before.
        try await scene.fixture.alter(
            """
            DELETE FROM audit.checkpoints; DELETE FROM audit.nodes;
            DELETE FROM audit.entries; DELETE FROM audit.heads; DELETE FROM service.redactions
            """)
        try await scene.fixture.append(700, customers: 40)
        let rewritten = try await scene.sign("rewritten")
        let answer = try await scene.verdict(["--from", old, "--to", rewritten] + key)
        #expect(answer.brokenAt == 301 && answer.reason?.contains("doesn't continue") == true, "\(answer)")
        try await scene.fixture.drop()
    }

    @Test("a certificate is valid as JSON and as a page, once a checkpoint covers its entry")
    func certificate() async throws {
        let scene = try await Scene.make(300)
        #expect(try await scene.run(["certificate", "--entry", scene.entry(4), "--out", "-"]).status == 1)
        try await scene.sign()
        let path = scene.place.path("certificate")
        let write = ["certificate", "--entry", try await scene.entry(4), "--disclose", "subject,context", "--out"]
        try await scene.succeed(write + [path])
        try await scene.succeed(write + [scene.place.path("page"), "--html"])
        #expect(try await scene.run(["certificate", "--entry", newID(), "--out", "-"]).status == 1)
        let verify = ["--public-key", scene.key.publicKey]
        for name in ["certificate", "page"] {
            let ended = try await Customerd.run(["audit", "verify", "--certificate", scene.place.path(name)] + verify)
            #expect(ended.status == 0, "\(name): \(ended.output)")
            _ = try await Program.succeed(
                ["python3", projectFile("scripts/verify-audit.py"), "certificate", scene.place.path(name)] + verify)
        }

        try await scene.fixture.drop()
    }

    @Test("tiles are those of the tree, partial ones included")
    func tiles() async throws {
        let scene = try await Scene.make(600)
        #expect(try await scene.run(["export", "--tiles", scene.place.path("tiles")]).status == 1)
        try await scene.sign()
        try await scene.succeed(["export", "--tiles", scene.place.path("tiles")])
        let root = scene.place.url.appendingPathComponent("tiles/\(Self.app)")
        let sizes = [
            ("tile/0/000", 8192), ("tile/0/001", 8192), ("tile/0/002.p/88", 88 * 32), ("tile/1/000.p/2", 64),
            ("tile/entries/000", 256 * 34), ("tile/entries/002.p/88", 88 * 34),
        ]
        for (path, size) in sizes {
            #expect(try Data(contentsOf: root.appendingPathComponent(path)).count == size, "\(path)")
        }
        #expect(TileExport.path("0", 1_234_067, nil) == "tile/0/x001/x234/067")
        let script = ["python3", projectFile("scripts/verify-audit.py"), "tiles", root.path]
        _ = try await Program.succeed(script + ["--public-key", scene.key.publicKey])
        var tile = try Data(contentsOf: root.appendingPathComponent("tile/1/000.p/2"))
        tile[40] ^= 1
        let signed = ["checkpoint", "tile/0/000"].map { root.appendingPathComponent($0) }
        let before = try signed.map { try Data(contentsOf: $0) }
        try tile.write(to: root.appendingPathComponent("tile/1/000.p/2"))
        #expect(try await Program.run(script + ["--public-key", scene.key.publicKey]).status == 1)

        // A longer tree continues what is there, which makes it right again.
        try await scene.fixture.append(1, customers: 50, from: 600)
        try await scene.sign()
        try await scene.succeed(["export", "--tiles", scene.place.path("tiles")])
        _ = try await Program.succeed(script + ["--public-key", scene.key.publicKey])
        // What doesn't continue it, or is no tree of that chain, isn't written over it.
        let longer = try Data(contentsOf: signed[0])
        #expect(longer != before[0])
        try await scene.fixture.alter(
            """
            DELETE FROM audit.checkpoints; DELETE FROM audit.nodes; DELETE FROM audit.entries; DELETE FROM audit.heads
            """)
        try await scene.fixture.append(700, customers: 40)
        try await scene.sign("rewritten")
        let refused = try await scene.run(["export", "--tiles", scene.place.path("tiles")])
        #expect(refused.status == 1 && refused.errors.contains("doesn't continue"), "\(refused.errors)")
        let other = try await scene.run(["export", "--tiles", scene.place.path("tiles/\(Self.app)"), "--app", newID()])
        #expect(other.status == 2 && other.errors.contains("isn't overwritten"), "\(other.errors)")
        #expect(try signed.map { try Data(contentsOf: $0) } == [longer, before[1]])
        try await scene.fixture.drop()
    }

    // MARK: - What is stored can't be believed

    /// Adds a note as the role that signs can.
    private static func keep(_ note: String, _ key: String, _ scene: Scene) async throws -> String? {
        try await scene.fixture.database.sqlstate(
            "SELECT audit.keep_checkpoint($note$\(note)$note$, $key$\(key)$key$)", as: "customerd_auditor")
    }

    @Test("the role that signs adds checkpoints through a function alone, which takes nothing else")
    func keeping() async throws {
        let scene = try await Scene.make(30)
        let signer = try NoteSigner(String(contentsOfFile: scene.key.path, encoding: .utf8), pemName: "")
        let other = try #require(NoteSigner(generating: "example.com/trail"))
        let key = scene.key.publicKey
        func note(_ size: Int, app: String = Self.app) throws -> String {
            let root = MerkleHash.leaf(Array("\(size)".utf8))
            return try Checkpoint(TreeHead(appID: app, size: size, root: root), signer: signer).text
        }
        let sql = "INSERT INTO audit.checkpoints SELECT '\(Self.app)', 3, now(), sha256('x'), 'x', 'x'"
        #expect(try await scene.fixture.database.sqlstate(sql, as: "customerd_auditor") == "42501")
        #expect(
            try await scene.fixture.database.sqlstate("SELECT audit.keep_checkpoint('', '')", as: "customerd_service")
                == "42501")
        let good = try note(30)
        let id = try #require(key.split(separator: "+").dropFirst().first)
        for (note, key, why) in [
            ("", key, "no note"), ("x", key, "no note"), (try note(31), key, "more than there are"),
            (try note(30, app: newID()), key, "no such chain"), (good, "", "no key"), (good, "x", "no key"),
            (good, key.replacingOccurrences(of: id, with: "00000000"), "another id"),
            (good, try #require(other.verifier.text), "another's signature"),
            (good.replacingOccurrences(of: "example.com/trail/", with: "example.org/trail/"), key, "another origin"),
            (good.replacingOccurrences(of: "\n30\n", with: "\n030\n"), key, "a leading zero"),
            (good.replacingOccurrences(of: "\n30\n", with: "\n0\n"), key, "no entry"),
            (good.replacingOccurrences(of: "=\n\n", with: "\n\n"), key, "no base64"),
            (good + "\n", key, "a line too many"), ("\n" + good, key, "a line too many"),
            (String(good.dropLast()), key, "a line that doesn't end"),
            (good.replacingOccurrences(of: "\n30\n", with: "\n30\r\n"), key, "a control character"),
            (good + String(repeating: "\u{2014} a AAAAAAAA\n", count: 5000), key, "a long one"),
        ] {
            #expect(try await Self.keep(note, key, scene) == "22023", "\(why)")
        }
        #expect(try await scene.count("SELECT count(*) FROM audit.checkpoints") == 0)
        for _ in 0..<2 { #expect(try await Self.keep(good, key, scene) == nil) }
        #expect(try await scene.count("SELECT count(*) FROM audit.checkpoints WHERE size = 30") == 1)
        try await scene.fixture.drop()
    }

    @Test("a stored checkpoint that isn't this log's is named, and neither the trail nor the next checkpoint suffers")
    func notOurs() async throws {
        let scene = try await Scene.make(300)
        try await scene.sign()
        try await scene.fixture.append(100, customers: 50, from: 300)
        let entry = try await scene.entry(4)
        let name = "isn't one that this log's key signed"
        let known = ["--public-key", scene.key.publicKey]
        let root = MerkleHash.leaf([1])
        func head(_ size: Int) -> TreeHead { TreeHead(appID: Self.app, size: size, root: root) }
        let signer = try NoteSigner(String(contentsOfFile: scene.key.path, encoding: .utf8), pemName: "")
        let stranger = try #require(NoteSigner(generating: "example.com/trail"))

        // Of the right form, without the log's signature: by its key's name, and by one who has a key of that name.
        let signed = try Checkpoint(head(380), signer: signer).text
        let unsigned = try Checkpoint(head(390), signer: stranger)
        let garbage = signed.replacingOccurrences(of: "\n380\n", with: "\n390\n")
        #expect(try await Self.keep(garbage, scene.key.publicKey, scene) == nil)
        let answer = try await scene.verdict()
        #expect(answer.verified == 400 && answer.brokenAt == nil, "\(answer)")
        #expect(answer.reason?.contains("the stored checkpoint of 390 entries") == true)
        #expect(answer.reason?.hasSuffix(name) == true && answer.brokenApp == Self.app, "\(answer)")
        // Who knows the key knows that it isn't this log's.
        let passed = try await scene.run(["verify", "--json"] + known)
        #expect(
            passed.status == 0 && passed.errors.contains("390 entries") && passed.errors.contains(name), "\(passed)")
        #expect(try await scene.run(["verify"]).output.contains("The trail by itself is whole: 400 entries"))

        #expect(try await Self.keep(unsigned.text, try #require(stranger.verifier.text), scene) == nil)
        let both = try await scene.run(["verify"] + known)
        #expect(both.status == 0 && both.output.contains("\(name), and has another root than the chain"), "\(both)")
        // Without the key, it may be either; that is said.
        let either = try await scene.verdict()
        #expect(either.brokenAt == 390 && either.reason?.contains("isn't this log's") == true, "\(either)")

        // Proofs and tiles are made from the newest that is right, and signing goes on from there.
        try await scene.succeed(["certificate", "--entry", entry, "--out", scene.place.path("first")])
        #expect(try scene.place.read("first").contains("\\n300\\n"))
        try await scene.succeed(["export", "--tiles", scene.place.path("tiles")])
        let sign = ["checkpoint", "--key", scene.key.path, "--out", scene.place.path("checkpoint")]
        for options in [["--incremental"], []] {
            let signing = try await scene.run(sign + options)
            #expect(signing.status == 0 && signing.errors.contains(name), "\(signing.errors)")
        }
        #expect(try scene.place.read("checkpoint").contains("\n400\n"))
        try await scene.succeed(["certificate", "--entry", entry, "--out", scene.place.path("second")])
        #expect(try scene.place.read("second").contains("\\n400\\n"))
        try await scene.succeed(["verify", "--certificate", scene.place.path("second")] + known)

        // What the log's key did sign binds it.
        try await scene.fixture.alter("DELETE FROM audit.checkpoints")
        #expect(try await Self.keep(signed, scene.key.publicKey, scene) == nil)
        let forked = try await scene.verdict(known)
        #expect(forked.brokenAt == 380 && forked.reason?.contains("isn't this log's") == false, "\(forked)")
        #expect(try await scene.run(["checkpoint", "--key", scene.key.path]).status == 1)
        try await scene.fixture.drop()
    }

    @Test(
        "any number of rows that the role that signs could add neither slows readers nor fails those who know the key")
    func flooded() async throws {
        let scene = try await Scene.make(300)
        try await scene.sign()
        let stranger = try #require(NoteSigner(generating: "example.com/trail"))
        try await scene.fixture.append(100, customers: 50, from: 300)
        // Of each size of the last hundred, and of one of them very many; valid but for the key and the root.
        let sizes = Array(301...400) + Array(repeating: 400, count: 300)
        let notes = try sizes.enumerated().map { number, size in
            let head = TreeHead(appID: Self.app, size: size, root: MerkleHash.leaf(Array("\(number)".utf8)))
            return "('\(try Checkpoint(head, signer: stranger).text)')"
        }
        let key = try #require(stranger.verifier.text)
        try await scene.fixture.database.run(
            "SELECT audit.keep_checkpoint(n.note, '\(key)') FROM (VALUES \(notes.joined(separator: ","))) AS n (note)")
        #expect(try await scene.count("SELECT count(*) FROM audit.checkpoints") == 401)

        let connection = try await scene.fixture.database.connect()
        let kept = KeptCheckpoints(connection: connection, deadline: .now + .seconds(60))
        var looked: [Int] = []
        let found = try await kept.newest(of: Self.app) { kept, _ throws(DatabaseError) -> Bool? in
            looked.append(kept.head.size)
            return nil
        }
        #expect(looked == [400, 400, 400, 400, 399, 398, 397, 396, 395, 394, 393])
        guard case .disagreement = found else { throw Unexpected(description: "\(found)") }
        await connection.close()

        let known = ["--public-key", scene.key.publicKey]
        let verified = try await scene.run(["verify"] + known)
        #expect(verified.status == 0 && verified.output.contains("and 399 more are like it"), "\(verified)")
        // What the log signs next is found at once, and continues what it signed before the flood.
        let signing = try await scene.run(["checkpoint", "--key", scene.key.path])
        #expect(signing.status == 0 && signing.errors.contains("and 399 more are like it"), "\(signing)")
        let entry = try await scene.entry(4)
        try await scene.succeed(["certificate", "--entry", entry, "--out", scene.place.path("certificate")])
        try await scene.succeed(["verify", "--certificate", scene.place.path("certificate")] + known)
        try await scene.fixture.drop()
    }

    private struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }

    @Test(
        "a chain that was wiped is missed by its stored checkpoint; one that isn't the log's doesn't say anything of it"
    )
    func wiped() async throws {
        let scene = try await Scene.make(30)
        try await scene.sign()
        try await scene.fixture.alter(
            "DELETE FROM audit.entries; DELETE FROM audit.heads; DELETE FROM audit.nodes; DELETE FROM service.attempts")
        for options in [[], ["--app", Self.app]] {
            let answer = try await scene.verdict(options)
            #expect(answer.brokenAt == 1 && answer.brokenApp == Self.app, "\(answer)")
        }
        try await scene.fixture.alter("UPDATE audit.checkpoints SET note = 'x'")
        let answer = try await scene.verdict()
        #expect(answer.brokenAt == nil && answer.reason?.contains("isn't one that this log's key signed") == true)
        try await scene.fixture.drop()
    }

    @Test(
        "cosignatures stay while the tree is the same; one that is wrong in the database is found by those who know the key"
    )
    func storedCosignatures() async throws {
        let scene = try await Scene.make(30)
        let log = try NoteSigner(String(contentsOfFile: scene.key.path, encoding: .utf8), pemName: "")
        let (first, second) = try (
            #require(NoteSigner(generating: "witness.example/1")), #require(NoteSigner(generating: "witness.example/2"))
        )
        let path = try await scene.sign()
        let bare = try Checkpoint(try scene.place.read("checkpoint"))
        func cosigned(_ witness: NoteSigner) throws -> Checkpoint {
            var checkpoint = bare
            checkpoint.add([try witness.cosign(bare.note.text, time: 1_700_000_000)])
            return checkpoint
        }
        // One is in the file, the other in the database.
        try scene.place.write("checkpoint", cosigned(first).text)
        #expect(try await Self.keep(cosigned(second).text, try #require(log.verifier.text), scene) == nil)
        let keys = ["--witness-key", first.witnessKey.text, "--witness-key", second.witnessKey.text]
        #expect(
            try await scene.run(["verify"] + keys).output.contains("isn't cosigned by the witness witness.example/1"))
        try await scene.sign()
        let merged = try Checkpoint(try scene.place.read("checkpoint"))
        #expect(merged.note.text == bare.note.text && merged.note.signatures.count == 3)
        try await scene.succeed(["verify", "--checkpoint", path, "--public-key", scene.key.publicKey] + keys)
        try await scene.succeed(["verify"] + keys)
        try await scene.sign()
        #expect(try scene.place.read("checkpoint") == merged.text, "and once more")

        let line = try #require(merged.note.signatures.last?.line)
        var blob = try #require(Data(base64Encoded: String(line.dropLast().split(separator: " ")[2])))
        blob[40] ^= 1
        let flipped = line.split(separator: " ").dropLast().joined(separator: " ") + " \(blob.base64EncodedString())\n"
        try await scene.fixture.alter(
            "UPDATE audit.checkpoints SET note = replace(note, $a$\(line)$a$, $a$\(flipped)$a$)")
        let answer = try await scene.verdict(keys)
        #expect(
            answer.verified == 30 && answer.reason?.contains("wrong cosignature of the witness") == true, "\(answer)")
        #expect(try await scene.verdict().reason == nil, "no one knows that it is one")

        // The right one beside it, under the same tree: what is wrong takes nothing away, and is said.
        #expect(try await Self.keep(merged.text, scene.key.publicKey, scene) == nil)
        let healed = try await scene.run(["verify", "--json"] + keys)
        #expect(healed.status == 0 && healed.errors.contains("wrong cosignature of the witness"), "\(healed)")
        // Adding the note without its cosignatures takes none away either.
        #expect(try await Self.keep(bare.text, scene.key.publicKey, scene) == nil)
        try await scene.succeed(["verify"] + keys)

        // A longer tree has no cosignature yet.
        try await scene.fixture.append(1, customers: 5, from: 30)
        try await scene.sign()
        #expect(try Checkpoint(try scene.place.read("checkpoint")).note.signatures.count == 1)
        try await scene.fixture.drop()
    }

    @Test("the same tree is signed again with an earlier key: that is said, and proofs show that key's signature")
    func earlierKey() async throws {
        let scene = try await Scene.make(30)
        let later = try await CheckpointKey()
        let entry = try await scene.entry(3)
        for (key, before) in [(scene.key, nil), (later, scene.key), (scene.key, later), (scene.key, nil)] {
            let ended = try await scene.run(["checkpoint", "--key", key.path])
            let said = before.map { "was signed with another key before, \($0.publicKey)" }
            #expect(ended.status == 0 && ended.errors.isEmpty == (said == nil), "\(ended.errors)")
            if let said { #expect(ended.errors.contains(said)) }
            try await scene.succeed(["certificate", "--entry", entry, "--out", scene.place.path("certificate")])
            try await scene.succeed(
                ["verify", "--certificate", scene.place.path("certificate"), "--public-key", key.publicKey])
        }
        #expect(try await scene.count("SELECT count(*) FROM audit.checkpoints") == 3)
        try await scene.fixture.drop()
    }

    // MARK: - What wasn't compared

    @Test("checkpoints that weren't compared with a chain confirm nothing, and that is said")
    func notCompared() async throws {
        let scene = try await Scene.make(30)
        let other = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a12"
        try await scene.fixture.append(10, app: other, customers: 5, from: 30)
        let signer = try NoteSigner(String(contentsOfFile: scene.key.path, encoding: .utf8), pemName: "")
        func write(_ name: String, _ heads: [TreeHead]) throws -> String {
            let notes = try heads.map { try Checkpoint($0, signer: signer).text }
            return try scene.place.write(name, notes.joined(separator: "\n"))
        }
        func empty(_ root: [UInt8], _ app: String = Self.app) -> TreeHead { TreeHead(appID: app, size: 0, root: root) }
        let (nothing, garbage) = (MerkleHash.ofNothing, MerkleHash.leaf([0]))
        let signed = try await scene.sign("signed", ["--app", Self.app])
        let others = try await scene.sign("others", ["--app", other])
        let both = try await scene.sign("both")
        let export = try scene.place.write("export", try await scene.succeed(["export"]))
        let (lacks, mismatch) = ("no checkpoint of the file was compared", "doesn't have the root of an empty tree")
        for (file, options, reason) in [
            (signed, [], nil), (others, ["--app", Self.app], lacks), (signed, ["--app", Self.app], nil),
            (try write("garbage", [empty(garbage)]), [], mismatch), (try write("nothing", [empty(nothing)]), [], lacks),
            (try write("elsewhere", [empty(nothing, newID())]), [], lacks), (both, [], nil),
            (try write("mixed", [empty(nothing), try Checkpoint(try scene.place.read("others")).head]), [], lacks),
        ] as [(String, [String], String?)] {
            for key in [[], ["--public-key", scene.key.publicKey]] {
                let all = ["--checkpoint", file] + options + key
                let answer = try await scene.verdict(all)
                #expect(answer.reason?.contains(reason ?? "") == (reason == nil ? nil : true), "\(all): \(answer)")
                let offline = try await scene.verdict(["--export", export] + all)
                #expect(offline.reason == answer.reason, "\(all): \(offline)")
                let script = try await Program.run(["python3", projectFile("scripts/verify-audit.py"), export] + all)
                #expect(try VerifierAnswer(script.output) == answer, "\(all): \(script.output)")
                #expect(script.status == (reason == nil ? 0 : 1))
            }
        }
        let partly = try await scene.run(["verify", "--checkpoint", signed])
        #expect(partly.output.contains("Not compared with a checkpoint: 1 chain."), "\(partly.output)")

        for (from, to, options, reason) in [
            (signed, both, [], "the older checkpoints lack this chain"),
            (both, signed, [], "the newer checkpoints lack"),
            (signed, others, ["--app", other], "the older checkpoints lack"), (both, both, [], nil),
            (others, others, ["--app", Self.app], "there is no checkpoint to compare"),
            (scene.place.path("garbage"), signed, [], mismatch), (signed, scene.place.path("garbage"), [], mismatch),
            (scene.place.path("nothing"), signed, [], nil), (signed, scene.place.path("nothing"), [], "covers less"),
        ] as [(String, String, [String], String?)] {
            for key in [[], ["--public-key", scene.key.publicKey]] {
                let ended = try await scene.run(["verify", "--json", "--from", from, "--to", to] + options + key)
                let answer = try VerifierAnswer(ended.output)
                #expect(ended.status == (reason == nil ? 0 : 1), "\(from) \(to): \(answer)")
                #expect(
                    answer.reason?.contains(reason ?? "") == (reason == nil ? nil : true), "\(from) \(to): \(answer)")
            }
        }
        try await scene.fixture.drop()
    }

    @Test("a directory of tiles holds one log, or one of each app, and nothing of others")
    func mixedTiles() async throws {
        let scene = try await Scene.make(30)
        let other = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a12"
        try await scene.fixture.append(10, app: other, customers: 5, from: 30)
        try await scene.sign()
        let (one, all) = (scene.place.path("one"), scene.place.path("all"))
        try await scene.succeed(["export", "--tiles", one, "--app", Self.app])
        try await scene.succeed(["export", "--tiles", all])
        let unfinished = scene.place.path("unfinished")
        try FileManager.default.copyItem(atPath: one, toPath: unfinished)
        try FileManager.default.removeItem(atPath: "\(unfinished)/checkpoint")
        let stranger = scene.place.path("stranger")
        try FileManager.default.createDirectory(atPath: "\(stranger)/\(newID())", withIntermediateDirectories: true)
        for (directory, options, reason) in [
            (one, [], "it is itself the tree of one app"),
            (all, ["--app", Self.app], "it holds the trees of several apps"),
            (one, ["--app", other], "it isn't the checkpoint of app \(other)"),
            (unfinished, ["--app", Self.app], "tiles without a checkpoint"), (stranger, [], "which has no chain here"),
        ] as [(String, [String], String)] {
            let before = try FileManager.default.subpathsOfDirectory(atPath: directory).sorted()
            let ended = try await scene.run(["export", "--tiles", directory] + options)
            #expect(ended.status == 2 && ended.errors.contains(reason), "\(reason): \(ended.errors)")
            #expect(try FileManager.default.subpathsOfDirectory(atPath: directory).sorted() == before)
        }
        // Another log of the same app: its key has another name.
        let renamed = try await CheckpointKey(name: "example.org/trail")
        try await scene.succeed(["checkpoint", "--key", renamed.path])
        for directory in [(one, ["--app", Self.app]), (all, [])] {
            let ended = try await scene.run(["export", "--tiles", directory.0] + directory.1)
            #expect(
                ended.status == 2 && ended.errors.contains("it holds the tree of example.com/trail/"), "\(ended.errors)"
            )
        }
        // One of the same name continues it.
        let rotated = try await CheckpointKey()
        try await scene.succeed(["checkpoint", "--key", rotated.path])
        try await scene.succeed(["export", "--tiles", one, "--app", Self.app])
        try await scene.succeed(["export", "--tiles", all])
        try await scene.fixture.drop()
    }

    @Test(
        "of an entry that isn't what was signed there is no certificate, and it is said why",
        arguments: [
            "UPDATE audit.entries SET actor_name = 'another' WHERE seq = 4",
            "UPDATE audit.entries SET reason = 'another' WHERE seq = 4",
            "UPDATE audit.entries SET user_agent = 'another' WHERE seq = 4",
            "UPDATE audit.entries AS e SET actor_name = 'another', hash = audit.hash(jsonb_populate_record(e, "
                + #"'{"actor_name": "another"}')) WHERE seq = 4"#,
            "UPDATE audit.entries SET hash = sha256('x') WHERE seq = 4",
            "UPDATE audit.entries SET hash = sha256('x') WHERE seq = 5",
            "UPDATE audit.nodes SET hash = sha256('x')", "DELETE FROM audit.nodes",
        ])
    func tamperedEntry(alteration: String) async throws {
        let scene = try await Scene.make(600)
        try await scene.sign()
        let entry = try await scene.entry(4)
        try await scene.succeed(["certificate", "--entry", entry, "--out", "-"])
        try await scene.fixture.alter(alteration)
        let ended = try await scene.run(["certificate", "--entry", entry, "--out", scene.place.path("certificate")])
        #expect(ended.status == 1 && ended.errors.contains("Nothing was certified: entry 4"), "\(ended.errors)")
        #expect(!FileManager.default.fileExists(atPath: scene.place.path("certificate")))
        try await scene.fixture.drop()
    }

    @Test("a negative answer is exit 1 with the reason, as JSON where that was asked for")
    func negativeAnswers() async throws {
        let scene = try await Scene.make(3)
        let key = ["--key", scene.key.path]
        for (arguments, reason) in [
            (["certificate", "--entry", newID(), "--out", "-"], "There is no entry"),
            (["certificate", "--entry", try await scene.entry(2), "--out", "-"], "No checkpoint covers the entry"),
            (["checkpoint", "--app", newID()] + key, "there are no entries"),
        ] {
            let ended = try await scene.run(arguments + ["--json"])
            #expect(ended.status == 1 && ended.errors.contains(reason), "\(arguments): \(ended.errors)")
            #expect(ended.output.hasPrefix("{\"error\":") && ended.output.hasSuffix("\"exit_code\":1}\n"))
        }
        try await scene.fixture.alter("UPDATE audit.entries SET actor_name = 'x' WHERE seq = 2")
        let broken = try await scene.run(["checkpoint", "--json"] + key)
        #expect(broken.status == 1 && broken.output.contains("Nothing was signed. The trail is BROKEN at entry 2"))
        try await scene.fixture.drop()
    }
}
