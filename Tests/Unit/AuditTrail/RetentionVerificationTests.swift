import LibPQ
import TestSupport
import Testing

@testable import AuditTrail

/// A trail whose old contexts were erased, seen by the command, by the script and by the query.
@Suite("Retention")
struct RetentionVerificationTests {
    private static let app = TrailFixture.app
    private static let erase = """
        UPDATE audit.entries
        SET ip = NULL, user_agent = NULL, actor_claimed = NULL, request = request - 'headers', context_salt = NULL
        """

    /// The seq that each of the three verifiers names; nil where all is well.
    private func breaks(_ fixture: TrailFixture) async throws -> [Int?] {
        let environment = ["DATABASE_URL": fixture.database.url()]
        let verdict = try await Customerd.run(["audit", "verify", "--json"], environment)
        let place = try TemporaryDirectory()
        let path = try place.write("export", try await Customerd.succeed(["audit", "export"], environment))
        let script = try await Program.run(["python3", projectFile("scripts/verify-audit.py"), path])
        let query = try await fixture.database.cluster.psql(
            ["-v", "app=\(Self.app)", "-f", projectFile("sql/audit/is_the_chain_whole.sql")],
            database: fixture.database.name, user: "postgres")
        return [
            try VerifierAnswer(verdict.output).brokenAt, try VerifierAnswer(script.output).brokenAt,
            query.split(separator: "|", omittingEmptySubsequences: false).dropFirst(2).first.flatMap { Int($0) },
        ]
    }

    /// A trail of 40 old entries, of which the context of so many batches of ten is erased.
    private func trail(batches: Int) async throws -> TrailFixture {
        let fixture = try await TrailFixture.make()
        try await fixture.append(40, customers: 10)
        for _ in 0...batches {
            try await fixture.database.rows("SELECT service.retain($1, 1, 10)", [.text(Self.app)])
        }
        return fixture
    }

    @Test("a trail verifies while the declared contexts are being erased, and afterwards", arguments: [0, 1, 3, 5])
    func declared(batches: Int) async throws {
        let fixture = try await trail(batches: batches)

        let erased = try await fixture.database.value(
            """
            SELECT count(*) FROM audit.entries
            WHERE num_nonnulls(ip, user_agent, actor_claimed, context_salt) = 0 AND NOT request ? 'headers'
            """)
        #expect(erased == "\(min(batches * 10, 40))")
        #expect(try await breaks(fixture) == [nil, nil, nil])
        #expect(
            try await fixture.database.value(
                "SELECT request FROM audit.entries WHERE action = 'trail.retention' AND actor_name = session_user")
                == #"{"days": 1, "up_to": 40}"#)
        try await fixture.drop()
    }

    @Test("a context that no retention declares is missed, at its seq")
    func undeclared() async throws {
        let fixture = try await trail(batches: 5)
        // The retention is entry 41.
        try await fixture.append(5, customers: 10, from: 40)

        for seq in [41, 44, 46] {
            try await fixture.database.run("CREATE TABLE fixture.kept AS TABLE audit.entries")
            try await fixture.alter("\(Self.erase) WHERE seq = \(seq)")
            // Without its context, entry 41 declares nothing any more.
            #expect(try await breaks(fixture) == Array(repeating: seq == 41 ? 1 : seq, count: 3))
            try await fixture.alter("TRUNCATE audit.entries; INSERT INTO audit.entries TABLE fixture.kept")
            try await fixture.database.run("DROP TABLE fixture.kept")
        }
        try await fixture.drop()
    }

    @Test("a context is proven as long as it is there, and what is erased is erased whole")
    func partial() async throws {
        let fixture = try await trail(batches: 1)

        for change in ["ip = '198.51.100.1'", "context_salt = NULL", "user_agent = NULL"] {
            try await fixture.database.run("CREATE TABLE fixture.kept AS TABLE audit.entries")
            try await fixture.alter("UPDATE audit.entries SET \(change) WHERE seq = 25")
            #expect(try await breaks(fixture) == [25, 25, 25], "\(change)")
            try await fixture.alter("TRUNCATE audit.entries; INSERT INTO audit.entries TABLE fixture.kept")
            try await fixture.database.run("DROP TABLE fixture.kept")
        }
        try await fixture.drop()
    }

    @Test("the database refuses to erase a context that isn't declared, and more than that")
    func guarded() async throws {
        let fixture = try await trail(batches: 1)
        try await fixture.append(5, customers: 10, from: 40)

        for change in [
            "\(Self.erase) WHERE seq = 43", "\(Self.erase), reason = NULL WHERE seq = 25",
            "\(Self.erase.replacing("request - 'headers'", with: "NULL")) WHERE seq = 25",
            "UPDATE audit.entries SET ip = NULL WHERE seq = 25",
        ] {
            await #expect(throws: (any Error).self, "\(change)") { try await fixture.database.run(change) }
        }
        try await fixture.database.run("\(Self.erase) WHERE seq = 25")
        #expect(try await breaks(fixture) == [nil, nil, nil])
        try await fixture.drop()
    }
}
