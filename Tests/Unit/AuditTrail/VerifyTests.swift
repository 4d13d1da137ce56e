import LibPQ
import TestSupport
import Testing

/// `customerd audit verify` against a superuser who has disabled the triggers.
@Suite("Audit verify")
struct VerifyTests {
    private static let strangers = "00000000-0000-0000-0000-000000000000"

    /// A database whose trail can be changed; each test has chains of its own.
    private enum Shared {
        static let database = Task {
            let database = try await TestDatabase.migrated()
            try await database.disarm()
            return database
        }
    }

    struct Alteration: Sendable, CustomTestStringConvertible {
        var description: String
        /// `$app` stands for the chain, of seven entries.
        var sql: String
        var brokenAt: Int
        var reason: String

        init(_ description: String, _ sql: String, brokenAt: Int, _ reason: String) {
            self.description = description
            self.sql = sql
            self.brokenAt = brokenAt
            self.reason = reason
        }

        var testDescription: String { description }
    }

    private static func update(_ description: String, _ assignment: String, at seq: Int = 3) -> Alteration {
        Alteration(
            description, "UPDATE audit.entries SET \(assignment) WHERE app_id = '$app' AND seq = \(seq)", brokenAt: seq,
            "changed")
    }

    static let alterations: [Alteration] = [
        update("another outcome", "outcome = 'SUCCEEDED'"),
        update("another status code", "status_code = 404"),
        update("a status code where there was none", "status_code = 200", at: 5),
        update("another customer", "customer_id = gen_random_uuid()"),
        update("no customer", "customer_id = NULL"),
        update("another id", "id = gen_random_uuid()"),
        update("a microsecond later", "recorded_at = recorded_at + interval '1 microsecond'"),
        update("the end of time", "occurred_at = 'infinity'"),
        update("another actor", "actor_name = 'another'"),
        update("another key", "actor_client_key = NULL"),
        update("another constraint", "constraint_name = 'another'"),
        update("another request id", "request_id = request_id || ' '"),
        update("a name in the before-image", "before_image = jsonb_set(before_image, '{first_name}', '\"Eve\"')"),
        update("a digit of an amount", "before_image = jsonb_set(before_image, '{last_spent}', '9999999999999999.98')"),
        update("no before-image", "before_image = NULL"),
        update("another reason", "reason = 'fraud'"),
        update("an empty reason where there was none", "reason = ''"),
        update("another message", "error_message = 'x'"),
        update("another address", "ip = '192.0.2.2'"),
        update("another claim", "actor_claimed = 'root'"),
        update("another browser", "user_agent = NULL"),
        update("another path", "request = jsonb_set(request, '{path}', '\"/\"')"),
        update("another salt of the context", "context_salt = sha256('x')"),
        update("no salt of the context", "context_salt = NULL"),
        update("another salt of the subject", "subject_salt = sha256('x')"),
        update("a longer salt of the subject", "subject_salt = subject_salt || '\\x00'"),
        update("a longer salt of the context", "context_salt = context_salt || '\\x00'"),
        update("another commitment", "subject_commitment = sha256('x')"),
        update("another hash", "hash = sha256('x')"),
        update("another previous hash", "previous_hash = sha256('x')"),
        update("the first entry", "outcome = 'FAILED'", at: 1),
        update("the last entry", "outcome = 'FAILED'", at: 7),
        Alteration(
            "the salt is gone, the data is not",
            "UPDATE audit.entries SET subject_salt = NULL WHERE app_id = '$app' AND seq = 4", brokenAt: 4,
            "subject_salt"),
        Alteration(
            "erased without a redaction",
            """
            UPDATE audit.entries SET before_image = NULL, reason = NULL, error_message = NULL, subject_salt = NULL
            WHERE app_id = '$app' AND seq = 4
            """, brokenAt: 4, "no later redaction"),
        Alteration(
            "an entry in the middle is gone", "DELETE FROM audit.entries WHERE app_id = '$app' AND seq = 3",
            brokenAt: 3,
            "missing"),
        Alteration(
            "the first is gone", "DELETE FROM audit.entries WHERE app_id = '$app' AND seq = 1", brokenAt: 1, "missing"),
        Alteration(
            "the last is gone", "DELETE FROM audit.entries WHERE app_id = '$app' AND seq = 7", brokenAt: 7, "missing"),
        Alteration("all are gone", "DELETE FROM audit.entries WHERE app_id = '$app'", brokenAt: 1, "missing"),
        Alteration(
            "one is gone and the others closed ranks",
            """
            DELETE FROM audit.entries WHERE app_id = '$app' AND seq = 3;
            UPDATE audit.entries SET seq = -seq WHERE app_id = '$app' AND seq > 3;
            UPDATE audit.entries SET seq = -seq - 1 WHERE app_id = '$app' AND seq < 0
            """, brokenAt: 3, "changed"),
        Alteration(
            "two changed places",
            """
            UPDATE audit.entries SET seq = -3 WHERE app_id = '$app' AND seq = 3;
            UPDATE audit.entries SET seq = 3 WHERE app_id = '$app' AND seq = 4;
            UPDATE audit.entries SET seq = 4 WHERE app_id = '$app' AND seq = -3
            """, brokenAt: 3, "changed"),
        Alteration(
            "changed, with a new hash",
            """
            UPDATE audit.entries SET outcome = 'FAILED' WHERE app_id = '$app' AND seq = 3;
            UPDATE audit.entries AS e SET hash = audit.hash(e) WHERE app_id = '$app' AND seq = 3
            """, brokenAt: 4, "previous_hash"),
        Alteration(
            "the last changed, with a new hash",
            """
            UPDATE audit.entries SET outcome = 'FAILED' WHERE app_id = '$app' AND seq = 7;
            UPDATE audit.entries AS e SET hash = audit.hash(e) WHERE app_id = '$app' AND seq = 7
            """, brokenAt: 7, "audit.heads"),
        Alteration(
            "one too many, correct in itself",
            """
            INSERT INTO audit.entries
            SELECT (jsonb_populate_record(e, jsonb_build_object(
                'seq', 8, 'id', gen_random_uuid(), 'previous_hash', e.hash))).*
            FROM audit.entries AS e WHERE app_id = '$app' AND seq = 7;
            UPDATE audit.entries AS e SET hash = audit.hash(e) WHERE app_id = '$app' AND seq = 8
            """, brokenAt: 8, "audit.heads"),
        Alteration("the head is gone", "DELETE FROM audit.heads WHERE app_id = '$app'", brokenAt: 7, "audit.heads"),
        Alteration(
            "the head was set back", "UPDATE audit.heads SET seq = 5 WHERE app_id = '$app'", brokenAt: 6, "audit.heads"),
        Alteration(
            "the head is ahead", "UPDATE audit.heads SET seq = 9 WHERE app_id = '$app'", brokenAt: 8, "missing"),
    ]

    @Test("an alteration is found, and its first entry named", arguments: alterations)
    func alteration(_ alteration: Alteration) async throws {
        let database = try await Shared.database.value
        let app = newID()
        try await database.append(7, app: app)
        #expect(try await database.verify(app: app).status == 0)

        try await database.run(alteration.sql.replacing("$app", with: app))

        let (status, verdict) = try await database.verify(app: app)
        #expect(status == 1)
        #expect(verdict.brokenAt == alteration.brokenAt)
        #expect(verdict.brokenApp == app)
        #expect(verdict.reason?.contains(alteration.reason) == true, "\(verdict.reason ?? "")")
        #expect(verdict.verified <= alteration.brokenAt - 1 || alteration.reason == "missing")
    }

    @Test("functions of the database that lie are not asked")
    func lyingFunctions() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await database.append(3, app: app)
        try await database.disarm()
        try await database.run(
            """
            UPDATE audit.entries SET outcome = 'FAILED' WHERE seq = 2;
            CREATE OR REPLACE FUNCTION audit.hash(e audit.entries) RETURNS bytea
            LANGUAGE sql AS 'SELECT e.hash'
            """)

        let (status, verdict) = try await database.verify()

        #expect(status == 1)
        #expect(verdict == Verdict(entries: 3, verified: 1, brokenAt: 2, brokenApp: app, reason: verdict.reason))
        try await database.drop()
    }

    @Test("whole chains verify, those of strangers too, for the auditor too, whatever the session's settings")
    func whole() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await database.append(40, app: app)
        try await database.append(5, app: newID())
        try await database.append(8, app: Self.strangers)
        try await database.run(
            """
            ALTER DATABASE \(database.name) SET bytea_output = 'escape';
            ALTER DATABASE \(database.name) SET datestyle = 'German, DMY';
            ALTER DATABASE \(database.name) SET timezone = 'Pacific/Chatham';
            ALTER DATABASE \(database.name) SET extra_float_digits = -10
            """)

        let all = try await database.verify(as: "customerd_auditor")
        let strangers = try await database.verify(app: Self.strangers, as: "customerd_service")
        let unknown = try await database.verify(app: newID())

        #expect(all.status == 0)
        #expect(all.verdict == Verdict(entries: 53, verified: 53))
        #expect(strangers.verdict == Verdict(entries: 8, verified: 8))
        #expect(unknown.verdict == Verdict(entries: 0, verified: 0))
        try await database.drop()
    }

    @Test("one broken chain doesn't hide how much of the others is proven")
    func others() async throws {
        let database = try await TestDatabase.migrated()
        let broken = "11111111-1111-4111-8111-111111111111"
        let later = "22222222-2222-4222-8222-222222222222"
        for app in [broken, later, Self.strangers] { try await database.append(4, app: app) }
        try await database.disarm()
        try await database.run("UPDATE audit.entries SET outcome = 'FAILED' WHERE app_id = '\(broken)' AND seq = 3")

        let (_, verdict) = try await database.verify()

        #expect(verdict == Verdict(entries: 12, verified: 10, brokenAt: 3, brokenApp: broken, reason: verdict.reason))
        try await database.drop()
    }

    @Test("entries that arrive meanwhile raise no alarm")
    func meanwhile() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await database.append(50, app: app)

        let verdicts = try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for _ in 0..<30 { try await database.append(10, app: app) } }
            var verdicts: [Verdict] = []
            for _ in 0..<6 { verdicts.append(try await database.verify().verdict) }
            try await group.waitForAll()
            return verdicts
        }

        for verdict in verdicts { #expect(verdict == Verdict(entries: verdict.entries, verified: verdict.entries)) }
        try await database.drop()
    }

    @Test("a redaction declares the erasure of every earlier entry of its customer")
    func redaction() async throws {
        let database = try await Shared.database.value
        let (app, customer) = (newID(), newID())
        try await database.append(4, app: app, customer: customer)
        try await database.appendRedaction(app: app, customer: customer)

        // Entries are erased one batch after another: the others still have their data.
        for erased in [[], [1], [3, 4], [2]] {
            try await erase(database, app, erased)
            let (status, verdict) = try await database.verify(app: app)
            #expect(status == 0)
            #expect(verdict == Verdict(entries: 5, verified: 5))
        }
    }

    @Test(
        "an erasure that no later redaction of the customer declares breaks the chain",
        arguments: ["before", "other", "failed", "kept"])
    func misfit(kind: String) async throws {
        let database = try await Shared.database.value
        let (app, customer) = (newID(), newID())
        if kind == "before" { try await database.appendRedaction(app: app, customer: customer) }
        try await database.append(4, app: app, customer: customer)
        try await erase(database, app, [3], keepingReason: kind == "kept")
        switch kind {
        case "other": try await database.appendRedaction(app: app, customer: newID())
        case "failed": try await database.appendRedaction(app: app, customer: customer, outcome: "FAILED")
        case "kept": try await database.appendRedaction(app: app, customer: customer)
        default: break
        }

        let (status, verdict) = try await database.verify(app: app)

        #expect(status == 1)
        #expect(verdict.brokenAt == 3)
        #expect(verdict.verified == 2)
    }

    private func erase(_ database: TestDatabase, _ app: String, _ seqs: [Int], keepingReason: Bool = false) async throws
    {
        try await database.run(
            """
            UPDATE audit.entries
            SET before_image = NULL, error_message = NULL, subject_salt = NULL,
                reason = \(keepingReason ? "'left over'" : "NULL")
            WHERE app_id = '\(app)' AND seq = ANY ('{\(seqs.map(String.init).joined(separator: ","))}')
            """)
    }

    // MARK: - Traces

    @Test("a wiped trail doesn't pass for an empty one: attempts, redactions and API keys refer to its entries")
    func wiped() async throws {
        let database = try await TestDatabase.migrated()
        let (first, second) = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
        let empty = try await database.verify()
        #expect(empty.status == 0)
        for app in [first, second] {
            try await database.append(7, app: app)
            try await database.addAttempts(app: app)
        }
        #expect(try await database.verify().status == 0)
        try await database.disarm()

        try await database.run(
            "DELETE FROM audit.entries WHERE app_id = '\(second)'; DELETE FROM audit.heads WHERE app_id = '\(second)'")
        let one = try await database.verify(as: "customerd_auditor")
        #expect(one.status == 1)
        #expect(
            one.verdict == Verdict(entries: 7, verified: 7, brokenAt: 1, brokenApp: second, reason: one.verdict.reason))
        #expect(one.verdict.reason?.contains("service.attempts refers to entry 7") == true)

        try await database.run("DELETE FROM audit.entries; DELETE FROM audit.heads")
        let all = try await database.verify(as: "customerd_auditor")
        #expect(all.status == 1)
        #expect(
            all.verdict == Verdict(entries: 0, verified: 0, brokenAt: 1, brokenApp: first, reason: all.verdict.reason))

        try await database.run(
            """
            DELETE FROM service.attempts;
            INSERT INTO service.redactions (app_id, customer_id, attempt_id, redacted_at, record, entry_seq)
            VALUES ('\(second)', gen_random_uuid(), gen_random_uuid(), now(), '{}', 3)
            """)
        let redacted = try await database.verify()
        #expect(redacted.status == 1)
        #expect(redacted.verdict.brokenApp == second)
        #expect(redacted.verdict.reason?.contains("service.redactions refers to entry 3") == true)

        // Attempts expire, and most apps have no redactions. A key's making has an entry, for ever.
        try await database.run("DELETE FROM service.redactions")
        try await database.customerd(["keys", "create", "--app", first, "--role", "viewer", "--name", "reader"])
        #expect(try await database.verify().status == 0)
        try await database.run("DELETE FROM audit.entries; DELETE FROM audit.heads")
        let used = try await database.verify(as: "customerd_auditor")
        #expect(used.status == 1)
        #expect(used.verdict.reason?.contains("service.api_keys refers to entry 1") == true)
        try await database.drop()
    }

    @Test("a tail that was cut together with its head shows without a checkpoint while attempts remember it")
    func cutTail() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await database.append(7, app: app)
        try await database.addAttempts(app: app)
        try await database.disarm()
        try await database.run(
            """
            DELETE FROM audit.entries WHERE seq > 5;
            UPDATE audit.heads AS h SET seq = e.seq, hash = e.hash FROM audit.entries AS e WHERE e.seq = 5
            """)

        let (status, verdict) = try await database.verify()

        #expect(status == 1)
        #expect(verdict == Verdict(entries: 5, verified: 5, brokenAt: 6, brokenApp: app, reason: verdict.reason))
        try await database.drop()
    }

    @Test("without SELECT on the trail nothing is proven: exit 2, and JSON")
    func withoutPrivilege() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run("REVOKE SELECT ON audit.entries FROM customerd_auditor")

        let ended = try await database.run(["audit", "verify", "--json"], as: "customerd_auditor")

        #expect(ended.status == 2)
        #expect(ended.memberNames.first == "error")
        try await database.drop()
    }

    @Test("a statement that was given up proves nothing: exit 3, and JSON")
    func givenUp() async throws {
        let database = try await TestDatabase.migrated()
        let other = try await database.begin("LOCK audit.entries IN ACCESS EXCLUSIVE MODE")
        try await database.run("ALTER DATABASE \(database.name) SET lock_timeout = '100ms'")

        let ended = try await database.run(["audit", "verify", "--json"], as: "customerd_auditor")
        try await other.rollBack()

        #expect(ended.status == 3)
        #expect(ended.memberNames.first == "error")
        try await database.drop()
    }

    @Test("the answer has the members of docs/api.md, in this order; exit 2 for a bad app")
    func form() async throws {
        let database = try await Shared.database.value

        let answer = try await database.run(["audit", "verify", "--json", "--app", newID()])
        let bad = try await database.run(["audit", "verify", "--app", "x"])

        #expect(answer.memberNames == ["entries", "verified", "broken_at", "broken_app", "reason"])
        #expect(bad.status == 2)
    }
}
