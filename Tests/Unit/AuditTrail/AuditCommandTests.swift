import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("audit export, checkpoint, keygen, verify")
struct AuditCommandTests {
    private static let other = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a12"
    private static let third = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a13"

    private typealias Stage = (fixture: TrailFixture, place: TemporaryDirectory, environment: [String: String])

    /// Two chains, and how an auditor gets at them.
    private func stage() async throws -> Stage {
        let fixture = try await TrailFixture.make()
        try await fixture.append(20, customers: 5)
        try await fixture.append(10, app: Self.other, customers: 5, from: 20)
        let environment = ["DATABASE_URL": fixture.database.url(user: "customerd_auditor")]
        return (fixture, try TemporaryDirectory(), environment)
    }

    private func key(in place: TemporaryDirectory, _ name: String = "key") async throws -> String {
        let arguments = ["audit", "keygen", "--name", "example.com/trail", "--key", place.path(name)]
        return try await Customerd.succeed(arguments).trimmingCharacters(in: .newlines)
    }

    @Test("a key is made once, for its owner's eyes, and its public half printed")
    func keygen() async throws {
        let place = try TemporaryDirectory()
        let publicKey = try await key(in: place)
        #expect(publicKey.hasPrefix("example.com/trail+"))
        let contents = try place.read("key")
        #expect(contents.hasPrefix("PRIVATE+KEY+example.com/trail+"))
        let mode = try FileManager.default.attributesOfItem(atPath: place.path("key"))[.posixPermissions] as? Int
        #expect(mode == 0o600)
        let again = try await Customerd.run(["audit", "keygen", "--name", "a", "--key", place.path("key")])
        #expect(again.status == 2)
        #expect(try place.read("key") == contents)
        let bad = try await Customerd.run(["audit", "keygen", "--name", "a b", "--key", place.path("other")])
        #expect(bad.status == 2)
    }

    @Test("the auditor can export, sign and verify; a checkpoint names every chain")
    func auditor() async throws {
        let (fixture, place, environment) = try await stage()
        let publicKey = try await key(in: place)
        let notes = try await Customerd.succeed(["audit", "checkpoint", "--key", place.path("key")], environment)
        let path = try place.write("checkpoint", notes)
        #expect(notes.contains("example.com/trail/\(TrailFixture.app)\n20\n"))
        #expect(notes.contains("example.com/trail/\(Self.other)\n10\n"))
        let export = try await Customerd.succeed(["audit", "export"], environment)
        #expect(export.split(separator: "\n").count == 30)
        let one = try await Customerd.succeed(["audit", "export", "--app", Self.other], environment)
        #expect(export.hasSuffix(one))
        try place.write("export", export)

        let options = ["--checkpoint", path, "--public-key", publicKey]
        let whole = #"{"entries":30,"verified":30,"broken_at":null,"broken_app":null,"reason":null}"# + "\n"
        #expect(try await Customerd.succeed(["audit", "verify", "--json"] + options, environment) == whole)
        let offline = ["audit", "verify", "--json", "--export", place.path("export")]
        #expect(try await Customerd.succeed(offline + options) == whole)
        let script = try await Program.run(
            ["python3", projectFile("scripts/verify-audit.py")] + options, input: place.path("export")
        )
        #expect(script.output == whole)
        #expect(script.status == 0)
        #expect(script.errors.isEmpty)
        let unproven = try await Customerd.succeed(["audit", "verify", "--checkpoint", path], environment)
        #expect(unproven.contains("weren't verified"))
        try await fixture.drop()
    }

    @Test("a checkpoint that can't be believed is a negative answer, and Python agrees")
    func unbelievable() async throws {
        let (fixture, place, environment) = try await stage()
        let publicKey = try await key(in: place)
        let another = try await key(in: place, "other")
        let arguments = ["audit", "checkpoint", "--key", place.path("key"), "--app", TrailFixture.app]
        let note = try await Customerd.succeed(arguments, environment)
        try place.write("export", try await Customerd.succeed(["audit", "export"], environment))
        let foreign = note.replacingOccurrences(of: "example.com/trail/", with: "example.org/trail/")
        let cases: [(contents: String, key: String?, isBelieved: Bool)] = [
            (note, publicKey, true), (note, nil, true), (note, another, false),
            (note.replacingOccurrences(of: "\n20\n", with: "\n19\n"), publicKey, false),
            (note.replacingOccurrences(of: "\n20\n", with: "\n020\n"), nil, false),
            (foreign, publicKey, false), ("", nil, false), ("hello\n", nil, false),
            (note + "\n" + note, publicKey, true),
            (String(note.dropLast(5)) + "\n", publicKey, false),
        ]
        for (contents, key, isBelieved) in cases {
            let path = try place.write("checkpoint", contents)
            let options = ["--checkpoint", path] + (key.map { ["--public-key", $0] } ?? [])
            let verdict = try await Customerd.run(["audit", "verify", "--json"] + options, environment)
            #expect(verdict.status == (isBelieved ? 0 : 1), "\(verdict.output) of \(contents)")
            let answer = try VerifierAnswer(verdict.output)
            #expect(answer.verified == 30 && answer.brokenAt == nil)
            #expect((answer.reason == nil) == isBelieved)
            let script = try await Program.run(
                ["python3", projectFile("scripts/verify-audit.py"), place.path("export")] + options
            )
            #expect(try VerifierAnswer(script.output).isLike(answer), "\(script.output) of \(contents)")
        }
        try await fixture.drop()
    }

    @Test("bad files are bad usage, with a sentence")
    func badUsage() async throws {
        let place = try TemporaryDirectory()
        try place.write("bad", "hello")
        let missing = place.path("missing")
        for arguments in [
            ["checkpoint", "--key", missing], ["checkpoint", "--key", place.path("bad")],
            ["verify", "--checkpoint", missing], ["verify", "--export", missing],
            ["verify", "--checkpoint", place.path("bad"), "--public-key", "hello"],
            ["verify", "--public-key", "hello"],
        ] {
            let ended = try await Customerd.run(["audit"] + arguments, ["DATABASE_URL": "postgresql:///?host=/nowhere"])
            #expect(ended.status == 2, "\(arguments): \(ended.errors)")
            #expect(!ended.errors.isEmpty && ended.output.isEmpty)
        }
    }

    @Test("nothing is signed that is broken or contradicts what was signed, and no other file is overwritten")
    func refusals() async throws {
        let (fixture, place, environment) = try await stage()
        _ = try await key(in: place)
        let sign = ["audit", "checkpoint", "--key", place.path("key"), "--out", place.path("checkpoint")]
        try await Customerd.succeed(sign, environment)
        let first = try place.read("checkpoint")
        try await fixture.append(5, customers: 5, from: 50)
        try await Customerd.succeed(sign, environment)
        let second = try place.read("checkpoint")
        #expect(second != first && second.contains("\n25\n"))

        try await fixture.alter(
            """
            DELETE FROM audit.entries WHERE seq > 21;
            UPDATE audit.heads AS h SET seq = e.seq, hash = e.hash FROM audit.entries AS e
            WHERE h.app_id = e.app_id AND e.app_id = '\(TrailFixture.app)' AND e.seq = 21
            """
        )
        // What was signed is told by the file and by the database.
        for copy in ["database", "file"] {
            let cut = try await Customerd.run(sign, environment)
            #expect(cut.status == 1 && cut.errors.contains("entry 22 is missing"), "by the \(copy)")
            try await fixture.alter("DELETE FROM audit.checkpoints")
        }
        let cut = try await Customerd.run(sign, environment)
        #expect(cut.status == 1)
        #expect(cut.errors.contains("entry 22 is missing"))
        #expect(try place.read("checkpoint") == second)
        let app = TrailFixture.app
        try await fixture.alter("UPDATE audit.entries SET reason = 'x' WHERE seq = 3 AND app_id = '\(app)'")
        let broken = try await Customerd.run(["audit", "checkpoint", "--key", place.path("key")], environment)
        #expect(broken.status == 1)
        #expect(broken.output.isEmpty)
        try place.write("precious", "hello")
        let overwriting = try await Customerd.run(sign.dropLast() + [place.path("precious")], environment)
        #expect(overwriting.status == 2)
        #expect(try place.read("precious") == "hello")
        let narrower = try await Customerd.run(sign + ["--app", Self.other], environment)
        #expect(narrower.status == 2)
        #expect(try place.read("checkpoint") == second)
        try place.write("precious", "")
        let filling = Array(sign.dropLast()) + [place.path("precious"), "--app", Self.other]
        try await Customerd.succeed(filling, environment)
        #expect(try place.read("precious").contains("/\(Self.other)\n10\n"))
        try await fixture.drop()
    }

    @Test("an incremental checkpoint continues from the last one")
    func incremental() async throws {
        let (fixture, place, environment) = try await stage()
        _ = try await key(in: place)
        let path = place.path("checkpoint")
        let sign = ["audit", "checkpoint", "--incremental", "--key", place.path("key"), "--out", path]
        try await Customerd.succeed(sign, environment)
        #expect(try place.read("checkpoint").contains("\(TrailFixture.app)\n20\n"))
        // One chain grows, one stays, one is new.
        try await fixture.append(5, customers: 5, from: 50)
        try await fixture.append(3, app: Self.third, customers: 5, from: 60)
        try await Customerd.succeed(sign, environment)
        let second = try place.read("checkpoint")
        for end in ["\(TrailFixture.app)\n25\n", "\(Self.other)\n10\n", "\(Self.third)\n3\n"] {
            #expect(second.contains(end))
        }
        _ = try await Customerd.succeed(["audit", "verify", "--checkpoint", path], environment)

        // It believes what its own key has signed, and nothing else.
        _ = try await key(in: place, "another")
        let foreign = sign.map { $0 == place.path("key") ? place.path("another") : $0 }
        #expect(try await Customerd.run(foreign, environment).status == 2)
        #expect(try place.read("checkpoint") == second)
        #expect(try await Customerd.run(sign.dropLast(2), environment).status == 2)
        try await fixture.drop()
    }

    @Test("an incremental checkpoint sees what was done after the last one, and a whole one what was done before, too")
    func afterCheckpoints() async throws {
        let (fixture, place, environment) = try await stage()
        _ = try await key(in: place)
        let cases: [(alteration: String, finding: String, isAfter: Bool)] = [
            ("UPDATE audit.entries SET reason = 'x' WHERE seq = 27", "entry 27 was changed", true),
            ("DELETE FROM audit.entries WHERE seq = 26", "entry 26 is missing", true),
            ("DELETE FROM audit.entries WHERE seq > 28", "entry 29 is missing", true),
            ("UPDATE audit.entries SET previous_hash = hash WHERE seq = 26", "entry 26 was changed", true),
            ("DELETE FROM audit.heads WHERE true", "no row", true),
            ("DELETE FROM audit.entries WHERE seq > 23", "is missing", true),
            ("UPDATE audit.heads SET seq = 23 WHERE true", "which counts 23", true),
            ("UPDATE audit.entries SET reason = 'x' WHERE seq = 3", "entry 3 was changed", false),
        ]
        for (index, (alteration, finding, isAfter)) in cases.enumerated() {
            let app = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8b\(10 + index)"
            let whole = [
                "audit", "checkpoint", "--app", app, "--key", place.path("key"), "--out", place.path("\(index)"),
            ]
            try await fixture.append(25, app: app, customers: 5, from: 100 * index)
            try await Customerd.succeed(whole, environment)
            try await fixture.append(5, app: app, customers: 5, from: 100 * index + 50)
            let first = try place.read("\(index)")
            try await fixture.alter("\(alteration) AND app_id = '\(app)'")
            for (sign, refuses) in [(whole + ["--incremental"], isAfter), (whole, true)] {
                let signed = try await Customerd.run(sign, environment)
                #expect(signed.status == (refuses ? 1 : 0), "\(alteration): \(signed.errors)")
                #expect(signed.errors.contains(finding) == refuses, "\(alteration): \(signed.errors)")
                #expect(try (place.read("\(index)") == first) == refuses)
                try place.write("\(index)", first)
            }
        }
        try await fixture.drop()
    }

    @Test("OpenSSL makes a key that signs, and verifies the signature")
    func openSSL() async throws {
        guard (try? await Program.succeed(["openssl", "version"])) != nil else { return }
        let (fixture, place, environment) = try await stage()
        _ = try await Program.succeed(["openssl", "genpkey", "-algorithm", "ed25519", "-out", place.path("key")])
        let derive = ["openssl", "pkey", "-in", place.path("key"), "-pubout", "-out", place.path("pub")]
        _ = try await Program.succeed(derive)
        let sign = ["audit", "checkpoint", "--key", place.path("key"), "--name", "example.com/x", "--app", Self.other]
        let note = try await Customerd.succeed(sign, environment)
        let path = try place.write("checkpoint", note)
        let parts = note.components(separatedBy: "\n\n")
        try place.write("text", parts[0] + "\n")
        let blob = try #require(Data(base64Encoded: String(parts[1].dropLast().split(separator: " ")[2])))
        try blob.dropFirst(4).write(to: place.url.appendingPathComponent("signature"))
        let check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", place.path("pub"), "-rawin"]
        let files = ["-in", place.path("text"), "-sigfile", place.path("signature")]
        _ = try await Program.succeed(check + files)
        let options = ["--checkpoint", path, "--public-key", place.path("pub")]
        let verdict = try await Customerd.succeed(["audit", "verify"] + options, environment)
        #expect(verdict.contains("signed with the given key"))
        let export = try place.write("export", try await Customerd.succeed(["audit", "export"], environment))
        _ = try await Program.succeed(["python3", projectFile("scripts/verify-audit.py"), export] + options)
        try await fixture.drop()
    }

    @Test("a part of the trail, by seq or by time, verifies on its own, and alterations in it are found")
    func parts() async throws {
        let (fixture, place, environment) = try await stage()
        _ = try await key(in: place)
        let sign = ["audit", "checkpoint", "--key", place.path("key"), "--out", place.path("checkpoint")]
        try await Customerd.succeed(sign, environment)
        let app = TrailFixture.app
        let times = try await fixture.database.rows(
            """
            SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time
            FROM audit.entries WHERE app_id = $1 ORDER BY seq
            """,
            [.text(app)]
        ).map { $0["time"] ?? "" }
        let cases: [(options: [String], seqs: ClosedRange<Int>)] = [
            (["--from", "5"], 5...20), (["--to", "7"], 1...7), (["--from", "5", "--to", "7"], 5...7),
            (["--from", times[4]], 5...20), (["--from", times[4], "--to", times[6]], 5...7), (["--from", "1"], 1...20),
            (["--to", "99"], 1...20),
        ]
        for (options, seqs) in cases {
            let export = try await Customerd.succeed(["audit", "export", "--app", app] + options, environment)
            let entries = export.split(separator: "\n").filter { $0.hasPrefix("{\"seq\":") }
            #expect(entries.first?.hasPrefix("{\"seq\":\(seqs.lowerBound),") == true, "\(options)")
            #expect(entries.count == seqs.count, "\(options)")
            let checkpoint = ["--checkpoint", place.path("checkpoint"), "--app", app]
            // The checkpoint of 20 entries says nothing about a part that ends before.
            let isCompared = seqs.contains(20)
            for (contents, isWhole) in [
                (export, true), (export.replacingOccurrences(of: "because", with: "Because"), false),
                (entries.dropLast().joined(separator: "\n"), false),
            ] {
                let path = try place.write("part", contents)
                for (given, confirms) in [(["--app", app], true), (checkpoint, isCompared)] {
                    let verdict = try await Customerd.run(["audit", "verify", "--json", "--export", path] + given)
                    #expect(verdict.status == (isWhole && confirms ? 0 : 1), "\(options): \(verdict.output)")
                    let script = try await Program.run(
                        ["python3", projectFile("scripts/verify-audit.py"), path] + given)
                    #expect(
                        try VerifierAnswer(script.output).isLike(VerifierAnswer(verdict.output)),
                        "\(options): \(script.output)")
                }
            }
        }
        let none = try await Customerd.succeed(["audit", "export", "--from", "31"], environment)
        #expect(none.isEmpty)
        #expect(try await Customerd.run(["audit", "export", "--from", "yesterday"], environment).status == 2)
        try await fixture.drop()
    }

    @Test("a part must follow from a checkpoint of the entries before it, and end where it says")
    func forgedParts() async throws {
        let (fixture, place, environment) = try await stage()
        _ = try await key(in: place)
        let sign = ["audit", "checkpoint", "--key", place.path("key"), "--out", place.path("checkpoint")]
        try await Customerd.succeed(sign, environment)
        try await fixture.append(5, customers: 5, from: 50)
        let app = TrailFixture.app
        let arguments = ["audit", "export", "--app", app, "--from", "21", "--to", "24"]
        let part = try await Customerd.succeed(arguments, environment)
        let hash = try #require(part.firstMatch(of: /"part_after_hash":"([0-9a-f]{64})"/)?.1)
        let cases = [
            (part, nil), (part.replacingOccurrences(of: hash, with: String(repeating: "0", count: 64)), 21),
            (part.replacingOccurrences(of: "\"part_last\":24", with: "\"part_last\":23"), 24),
            (part.replacingOccurrences(of: "\"part_last\":24", with: "\"part_last\":25"), 25),
            (part.replacingOccurrences(of: "\"part_last\":24", with: "\"part_last\":null"), 24),
            // A tree of 19 leaves has another number of subtrees: the line is malformed.
            (part.replacingOccurrences(of: "\"part_after\":20", with: "\"part_after\":19"), nil),
            (part.replacingOccurrences(of: "\"part_after\":20", with: "\"part_after\":17"), 18),
        ]
        for (contents, seq) in cases {
            let path = try place.write("part", contents)
            let checkpoint = ["--checkpoint", place.path("checkpoint"), "--app", app]
            let verdict = try await Customerd.run(["audit", "verify", "--json", "--export", path] + checkpoint)
            #expect(try VerifierAnswer(verdict.output).brokenAt == seq, "\(verdict.output)")
            let script = try await Program.run(["python3", projectFile("scripts/verify-audit.py"), path] + checkpoint)
            #expect(try VerifierAnswer(script.output).isLike(VerifierAnswer(verdict.output)), "\(script.output)")
        }
        try await fixture.drop()
    }

    @Test("what the trail says of one app is unaffected by another's, and --app looks at one")
    func oneOfTwo() async throws {
        let (fixture, place, environment) = try await stage()
        let app = TrailFixture.app
        try await fixture.alter("UPDATE audit.entries SET reason = 'x' WHERE seq = 3 AND app_id = '\(app)'")
        let export = try place.write("export", try await Customerd.succeed(["audit", "export"], environment))
        for source in [[], ["--export", export]] {
            let all = try await Customerd.run(["audit", "verify", "--json"] + source, environment)
            #expect(all.status == 1)
            let answer = try VerifierAnswer(all.output)
            #expect(answer.entries == 30 && answer.verified == 12)
            #expect(answer.brokenAt == 3 && answer.brokenApp == app)
            let one = try await Customerd.run(["audit", "verify", "--json", "--app", Self.other] + source, environment)
            #expect(one.status == 0)
            #expect(try VerifierAnswer(one.output).verified == 10)
        }
        try await fixture.drop()
    }
}
