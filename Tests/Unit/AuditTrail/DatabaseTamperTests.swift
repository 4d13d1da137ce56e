import Foundation
import TestSupport
import Testing

@testable import AuditTrail

/// What a superuser can do to the tables, seen through the commands.
@Suite("Alterations of the database")
struct DatabaseTamperTests {
    /// An entry of a customer who isn't redacted, with a before-image and a reason.
    private static let entry = "WHERE seq = 55"
    private static let app = TrailFixture.app

    private static let columns: [(name: String, sql: String)] = [
        ("seq", "seq + 1000"), ("id", "gen_random_uuid()"), ("app_id", "gen_random_uuid()"),
        ("occurred_at", "occurred_at + interval '1 microsecond'"),
        ("recorded_at", "recorded_at - interval '1 microsecond'"), ("action", "'customer.create'"),
        ("outcome", "'FAILED'"), ("status_code", "coalesce(status_code, 0) + 1"), ("customer_id", "gen_random_uuid()"),
        ("before_image", #"coalesce(before_image, '{}') || '{"first_name": "Jane"}'"#),
        ("actor_key_id", "gen_random_uuid()"), ("actor_client_key", "'ck_other'"), ("actor_name", "'other'"),
        ("actor_role", "'viewer'"), ("actor_claimed", "'another'"), ("reason", "'another'"), ("ip", "'198.51.100.1'"),
        ("user_agent", "''"), ("request_id", "request_id || ' '"), ("idempotency_key", "gen_random_uuid()"),
        ("request", #"request || '{"path": "/"}'"#), ("error_code", "'P2004'"), ("sqlstate", "'23001'"),
        ("constraint_name", "'x'"), ("referencing_table", "'transactions'"), ("error_message", "'x'"),
        ("previous_hash", "sha256('x')"), ("hash", "sha256('x')"), ("subject_commitment", "sha256('x')"),
        ("context_commitment", "sha256('x')"), ("subject_salt", "sha256('x')"), ("context_salt", "sha256('x')"),
    ]

    private static let nullable = [
        "status_code", "customer_id", "before_image", "actor_name", "reason", "ip", "request", "subject_salt",
        "context_salt",
    ]

    private static func recompute(from seq: Int) -> String {
        """
        DO $$
        DECLARE
            v_entry audit.entries;
            v_previous bytea := decode(repeat('00', 32), 'hex');
        BEGIN
            SELECT coalesce((array_agg(hash))[1], v_previous) INTO v_previous FROM audit.entries WHERE seq = \(seq) - 1;
            FOR v_entry IN SELECT * FROM audit.entries WHERE seq >= \(seq) ORDER BY seq LOOP
                v_entry.actor_name := 'another';
                v_entry.previous_hash := v_previous;
                v_entry.hash := audit.hash(v_entry);
                v_previous := v_entry.hash;
                UPDATE audit.entries SET actor_name = v_entry.actor_name, previous_hash = v_entry.previous_hash,
                    hash = v_entry.hash WHERE seq = v_entry.seq;
            END LOOP;
            UPDATE audit.heads SET hash = v_previous;
        END
        $$
        """
    }

    private static let moveHead = """
        UPDATE audit.heads AS h SET seq = e.seq, hash = e.hash
        FROM (SELECT seq, hash FROM audit.entries ORDER BY seq DESC LIMIT 1) AS e
        """

    /// SQL, the seq that has to be named if it is known, and whether a checkpoint is needed.
    private static let alterations: [(sql: String, seq: Int?, needsCheckpoint: Bool)] = {
        let changed = columns.map { ("UPDATE audit.entries SET \($0.name) = \($0.sql) \(entry)", Int?(55), false) }
        let emptied = nullable.map { ("UPDATE audit.entries SET \($0) = NULL \(entry)", Int?(55), false) }
        let nothing = ["before_image", "reason", "error_message", "subject_salt"].map { "\($0) = NULL" }
        let erase = "UPDATE audit.entries SET \(nothing.joined(separator: ", "))"
        let others: [(String, Int?, Bool)] = [
            ("DELETE FROM audit.entries WHERE seq = 1", 1, false),
            ("DELETE FROM audit.entries WHERE seq = 40", 40, false),
            ("DELETE FROM audit.entries WHERE seq = 150", 150, false),
            ("DELETE FROM audit.entries WHERE seq BETWEEN 20 AND 60", 20, false),
            ("DELETE FROM audit.entries", 1, false),
            ("DELETE FROM audit.entries WHERE seq > 100", nil, false),
            ("DELETE FROM audit.entries WHERE seq > 149; \(moveHead)", 150, true),
            ("DELETE FROM audit.entries WHERE seq > 1; \(moveHead)", nil, true),
            ("DELETE FROM audit.entries; DELETE FROM audit.heads", 1, true),
            (
                """
                UPDATE audit.entries SET seq = 1000 WHERE seq = 40;
                UPDATE audit.entries SET seq = 40 WHERE seq = 41;
                UPDATE audit.entries SET seq = 41 WHERE seq = 1000
                """, 40, false
            ),
            (recompute(from: 1), 150, true), (recompute(from: 40), 150, true), (recompute(from: 150), 150, true),
            ("\(erase) \(entry)", 55, false), ("\(erase) WHERE seq = 150", nil, false),
            (
                """
                INSERT INTO audit.entries
                SELECT (jsonb_populate_record(e, jsonb_build_object('seq', 151, 'id', gen_random_uuid()))).*
                FROM audit.entries AS e WHERE e.seq = 150
                """, 151, false
            ),
            ("UPDATE audit.heads SET seq = seq + 1", 151, false), ("UPDATE audit.heads SET seq = seq - 1", 150, false),
            ("UPDATE audit.heads SET hash = sha256('x')", 150, false), ("DELETE FROM audit.heads", 150, false),
            ("UPDATE audit.entries SET occurred_at = 'infinity' \(entry)", 55, false),
            ("UPDATE audit.entries SET occurred_at = '20000-01-01' \(entry)", 55, false),
            ("UPDATE audit.entries SET occurred_at = '0044-03-15 BC' \(entry)", 55, false),
            ("UPDATE audit.entries SET reason = '' WHERE reason IS NULL", nil, false),
            ("UPDATE audit.entries SET request = '{}' WHERE action = 'customer.redact'", nil, false),
        ]
        return changed + emptied + others
    }()

    @Test("every alteration by a superuser is found by the command, and in the export by the script")
    func alterationsAreFound() async throws {
        let fixture = try await TrailFixture.make()
        try await fixture.append(100, customers: 30)
        try await fixture.redact(0..<20)
        try await fixture.append(30, customers: 30, from: 100)
        try await fixture.database.run(
            "CREATE TABLE fixture.entries AS TABLE audit.entries; CREATE TABLE fixture.heads AS TABLE audit.heads"
        )
        let place = try TemporaryDirectory()
        let environment = ["DATABASE_URL": fixture.database.url()]
        let checkpoint = place.path("checkpoint")
        try await Customerd.succeed(["audit", "keygen", "--name", "example.com/trail", "--key", place.path("key")])
        let sign = ["audit", "checkpoint", "--key", place.path("key"), "--out", checkpoint]
        try await Customerd.succeed(sign, environment)
        // This test is about what the file shows; the copy in the database would show it as well.
        try await fixture.alter("DELETE FROM audit.checkpoints")

        var found = 0
        for (sql, seq, needsCheckpoint) in Self.alterations {
            try await fixture.alter(sql)
            let options = needsCheckpoint ? ["--checkpoint", checkpoint] : []
            let verdict = try await Customerd.run(["audit", "verify", "--json"] + options, environment)
            let export = try await Customerd.succeed(["audit", "export"], environment)
            let path = try place.write("export", export)
            let script = try await Program.run(["python3", projectFile("scripts/verify-audit.py"), path] + options)
            let answer = try VerifierAnswer(verdict.output)
            #expect(verdict.status == 1 && answer.reason != nil, "not found: \(sql)")
            #expect(seq == nil || answer.brokenAt == seq || answer.brokenApp != Self.app, "\(answer) after \(sql)")
            #expect(script.status == 1)
            #expect(try VerifierAnswer(script.output).isLike(answer), "\(script.output)\(verdict.output) after \(sql)")
            #expect(try VerifierAnswer(offline(export, needsCheckpoint ? checkpoint : nil)) == answer, "\(sql)")
            if verdict.status == 1 { found += 1 }
            try await fixture.alter(
                """
                DELETE FROM audit.entries;
                INSERT INTO audit.entries TABLE fixture.entries;
                DELETE FROM audit.heads;
                INSERT INTO audit.heads TABLE fixture.heads
                """
            )
        }
        let verdict = try await Customerd.run(["audit", "verify", "--json", "--checkpoint", checkpoint], environment)
        #expect(verdict.status == 0)
        try await fixture.drop()
        print("alterations of the database found: \(found) of \(Self.alterations.count)")
    }

    /// The answer of the verifier of exports.
    private func offline(_ export: String, _ checkpoint: String?) throws -> String {
        let contents = try checkpoint.map { try String(contentsOfFile: $0, encoding: .utf8) }
        let heads = contents.map { Checkpoints($0, app: nil).heads } ?? []
        var verify = ExportVerifier(app: nil, checkpoints: heads)
        for line in export.split(separator: "\n") { verify.take(line: line.utf8) }
        let verdict = verify.finish()
        let json: JSON = [
            "entries": .int(verdict.entries), "verified": .int(verdict.verified),
            "broken_at": .int(verdict.broken?.seq), "broken_app": .string(verdict.broken?.appID),
            "reason": .string(verdict.broken?.reason),
        ]
        return json.text
    }
}

/// What `audit verify --json` and the script answer.
struct VerifierAnswer: Decodable, Hashable {
    enum CodingKeys: String, CodingKey {
        case entries, verified, reason
        case brokenAt = "broken_at"
        case brokenApp = "broken_app"
    }

    let entries: Int
    let verified: Int
    let brokenAt: Int?
    let brokenApp: String?
    let reason: String?

    init(_ text: String) throws {
        self = try JSONDecoder().decode(VerifierAnswer.self, from: Data(text.utf8))
    }

    /// Whether they agree in everything but the words.
    func isLike(_ other: VerifierAnswer) -> Bool {
        (entries, verified, brokenAt, brokenApp, reason == nil)
            == (other.entries, other.verified, other.brokenAt, other.brokenApp, other.reason == nil)
    }
}
