import Foundation
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
