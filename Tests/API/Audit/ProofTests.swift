import Foundation
import TestSupport
import Testing

@Suite("Proofs and certificates over HTTP", .unlimitedStage())
struct ProofTests {
    @Test("before a checkpoint covers an entry there is neither proof nor certificate: 404")
    func withoutCheckpoint() async throws {
        let tenant = try await Stage.current.tenant()
        _ = try await tenant.delete(newID())
        let first = try #require(try await tenant.entries().first?["id"])
        let missing = HTTPAnswer.error(404, "Checkpoint not found", "Not Found")
        for path in ["checkpoint", "\(first)/proof", "\(first)/certificate"] {
            let answer = try await tenant.get("/api/v0/audit/\(path)")
            #expect(answer.status == 404 && answer.body == missing, "\(path)")
        }

        let key = try await CheckpointKey()
        try await key.sign(tenant)
        _ = try await tenant.delete(newID())

        let second = try #require(try await tenant.entries().last?["id"])
        #expect(try await tenant.get("/api/v0/audit/checkpoint").status == 200)
        #expect(try await tenant.get("/api/v0/audit/\(first)/proof").status == 200)
        #expect(try await tenant.get("/api/v0/audit/\(second)/proof").body == missing)
    }

    @Test("a proof is a tlog-proof of that entry against the checkpoint; another app's entry is none")
    func proof() async throws {
        let tenant = try await Stage.current.tenant()
        for _ in 0..<5 { _ = try await tenant.delete(newID()) }
        let note = try await CheckpointKey().sign(tenant)
        let ids = try await tenant.entries().compactMap { $0["id"] }

        for (index, id) in ids.enumerated() {
            let answer = try await tenant.get("/api/v0/audit/\(id)/proof")
            #expect(answer.values(of: "content-type") == ["text/plain; charset=utf-8"])
            #expect(answer.body.hasPrefix("c2sp.org/tlog-proof@v1\nindex \(index)\n"))
            #expect(answer.body.hasSuffix("\n\n" + note))
        }
        let checkpoint = try await tenant.get("/api/v0/audit/checkpoint")
        #expect(checkpoint.body == note && note.hasPrefix("example.com/trail/\(tenant.app)\n5\n"))
        let other = try await Stage.current.tenant()
        let foreign = try await other.get("/api/v0/audit/\(ids[0])/proof")
        #expect(foreign.body == HTTPAnswer.error(404, "Audit entry not found", "Not Found"))
        #expect(try await tenant.get("/api/v0/audit/x/proof").status == 400)
    }

    @Test("a certificate verifies offline, by both verifiers, and discloses only what was asked for")
    func certificate() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.lastName = "Abendroth" })
        _ = try await tenant.delete(
            customer.id, headers: [("x-audit-reason", "asked <b>by</b> letter"), ("user-agent", "secret-agent/7")])
        let key = try await CheckpointKey()
        try await key.sign(tenant)
        let id = try #require(try await tenant.entries().first?["id"])
        let path = "/api/v0/audit/\(id)/certificate"

        for (query, shown, hidden) in [
            ("", [], ["Abendroth", "by letter", "asked", "secret-agent"]),
            ("subject", ["Abendroth", "asked <b>by"], ["secret-agent"]),
            ("context", ["secret-agent"], ["Abendroth", "asked"]),
            ("context,subject", ["Abendroth", "asked <b>by", "secret-agent"], []),
        ] {
            let answer = try await tenant.get(path, query.isEmpty ? [] : [("disclose", query)])
            #expect(answer.status == 200)
            for text in shown { #expect(answer.body.contains(text), "\(query) shows \(text)") }
            for text in hidden { #expect(!answer.body.contains(text), "\(query) hides \(text)") }
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("certificate-\(newID())")
            defer { try? FileManager.default.removeItem(at: file) }
            try Data(answer.body.utf8).write(to: file)
            let options = [file.path, "--public-key", key.publicKey]
            try await Customerd.succeed(["audit", "verify", "--certificate"] + options)
            let script = projectFile("scripts/verify-audit.py")
            let child = try ChildProcess(
                ["/usr/bin/env", "python3", script, "certificate"] + options, environment: [:])
            #expect(await child.exitStatus(within: .seconds(60)) == 0, "\(child.errors)")
        }
        #expect(try await tenant.get(path, [("disclose", "everything")]).status == 400)
        for wrong in ["subject,", ",", "subject,subject", "context,subject,context", "Subject", " subject"] {
            #expect(try await tenant.get(path, [("disclose", wrong)]).status == 400, "\(wrong)")
        }
        #expect(try await tenant.get(path, [("disclose", "subject"), ("disclose", "context")]).status == 400)
    }

    @Test("of an entry that isn't what was signed there is neither proof nor certificate: 500, and the log says why")
    func tampered() async throws {
        let tenant = try await Stage.current.tenant()
        for _ in 0..<3 { _ = try await tenant.delete(newID()) }
        try await CheckpointKey().sign(tenant)
        let ids = try await tenant.entries().compactMap { $0["id"] }
        Stage.current.leaveTrailBroken()
        try await tenant.database.run(
            """
            BEGIN;
            ALTER TABLE audit.entries DISABLE TRIGGER entries_are_never_changed;
            UPDATE audit.entries SET actor_name = 'another' WHERE id = '\(ids[0])';
            UPDATE audit.entries SET hash = sha256('x') WHERE id = '\(ids[1])';
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed;
            COMMIT;
            """)

        for (path, reason) in [
            ("\(ids[0])/proof", "entry 1 of app \(tenant.app) was changed"),
            ("\(ids[0])/certificate", "entry 1 of app \(tenant.app) was changed"),
            ("\(ids[1])/certificate", "entry 2 of app \(tenant.app) was changed"),
            ("\(ids[2])/certificate", "entry 3 of app \(tenant.app) isn't in the tree that was signed"),
            ("checkpoint", "the tree doesn't have the root of the stored checkpoint of 3 entries"),
        ] {
            let answer = try await tenant.get("/api/v0/audit/\(path)")
            #expect(answer.status == 500, "\(path)")
            #expect(answer.body == HTTPAnswer.error(500, "Internal server error", "Internal Server Error"))
            try await eventually("the log says why: \(reason)") { tenant.service.log.contains(reason) }
        }
    }

    @Test("what was redacted isn't disclosed, and the certificate verifies all the same")
    func redacted() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.lastName = "Abendroth" })
        _ = try await tenant.delete(customer.id)
        #expect(try await tenant.post("redact", customer.id, key: newID()).status == 200)
        let key = try await CheckpointKey()
        try await key.sign(tenant)
        let id = try #require(try await tenant.entries().first?["id"])

        let answer = try await tenant.get("/api/v0/audit/\(id)/certificate", [("disclose", "subject,context")])

        #expect(answer.status == 200 && !answer.body.contains("Abendroth"))
        #expect(answer.body.contains(#""disclosed":{"context""#))
    }
}
