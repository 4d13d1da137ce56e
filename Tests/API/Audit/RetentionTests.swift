import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("The context of old entries", .stages)
struct RetentionTests {
    private static let app = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a12"
    /// Entries of an app, 1,200 of them 40 days old and 10 of them of yesterday, and one of strangers.
    private static let old = """
        SELECT count(*)
        FROM service.append('\(app)', (
            SELECT jsonb_agg(jsonb_build_object(
                'id', gen_random_uuid(), 'occurred_at', now() - CASE WHEN i <= 1200 THEN 40 ELSE 1 END * interval '1 day',
                'action', 'customer.delete', 'outcome', 'NOT_FOUND', 'status_code', 404,
                'customer_id', gen_random_uuid(), 'ip', '192.0.2.1', 'user_agent', 'browser', 'actor_claimed', 'bob',
                'request', '{"method": "DELETE", "headers": {"accept": "*/*"}}'::jsonb) ORDER BY i)
            FROM generate_series(1, 1210) AS i));
        SELECT count(*)
        FROM service.append('00000000-0000-0000-0000-000000000000', jsonb_build_array(jsonb_build_object(
            'id', gen_random_uuid(), 'occurred_at', now() - interval '40 days', 'action', 'customer.delete',
            'outcome', 'UNAUTHENTICATED', 'status_code', 401, 'ip', '192.0.2.1', 'request', '{"method": "DELETE"}'::jsonb)))
        """

    private func count(_ stage: Stage, _ condition: String) async throws -> String? {
        try await stage.database.value("SELECT count(*) FROM audit.entries WHERE \(condition)")
    }

    @Test("is erased after the days that operators set, by several instances, and that is declared once")
    func erased() async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_CONTEXT_RETENTION_DAYS": "30"], isStarted: false, prepare: Self.old)
        try await stage.restart()
        _ = try await stage.secondService()

        try await eventually("the old contexts were erased", within: .seconds(60)) {
            try await count(stage, "context_salt IS NULL") == "1201"
        }

        #expect(
            try await count(
                stage,
                """
                context_salt IS NULL
                AND num_nonnulls(ip, user_agent, actor_claimed) = 0 AND NOT request ? 'headers'
                """) == "1201")
        #expect(
            try await count(
                stage,
                """
                app_id = '\(Self.app)' AND seq BETWEEN 1201 AND 1210 AND context_salt IS NOT NULL
                AND num_nonnulls(ip, user_agent, actor_claimed) = 3 AND request ? 'headers'
                """) == "10")
        let declarations = try await stage.database.rows(
            "SELECT app_id, request FROM audit.entries WHERE action = 'trail.retention' ORDER BY app_id")
        #expect(declarations.map { $0["request"] } == [#"{"days": 30, "up_to": 1}"#, #"{"days": 30, "up_to": 1200}"#])
        #expect(try await Trail.verify(stage.database).isClean)
    }

    @Test("is erased though the chain of another app, whose turn is earlier, can't be appended to")
    func besideLockedChain() async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_CONTEXT_RETENTION_DAYS": "30"], isStarted: false, prepare: Self.old)
        let holder = try await stage.database.begin(
            "SELECT FROM audit.heads WHERE app_id = '00000000-0000-0000-0000-000000000000' FOR UPDATE")

        try await stage.restart()
        try await eventually("the old contexts were erased", within: .seconds(60)) {
            try await count(stage, "context_salt IS NULL") == "1200"
        }
        try await holder.rollBack()

        try await eventually("the other one followed", within: .seconds(90)) {
            try await count(stage, "context_salt IS NULL") == "1201"
        }
    }

    @Test("isn't in a certificate, which is valid without it")
    func certificate() async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_CONTEXT_RETENTION_DAYS": "30"], isStarted: false, prepare: Self.old)
        try await stage.restart()
        try await eventually("the old contexts were erased", within: .seconds(60)) {
            try await count(stage, "context_salt IS NULL") == "1201"
        }
        let key = try await CheckpointKey()
        try await stage.database.customerd(["audit", "checkpoint", "--key", key.path])

        for (seq, isErased) in [(7, true), (1205, false)] {
            let id = try #require(
                try await stage.database.value(
                    "SELECT id FROM audit.entries WHERE app_id = '\(Self.app)' AND seq = \(seq)"))
            let file = FileManager.default.temporaryDirectory.appendingPathComponent("certificate-\(newID())")
            defer { try? FileManager.default.removeItem(at: file) }
            try await stage.database.customerd(
                ["audit", "certificate", "--entry", id, "--disclose", "subject,context", "--out", file.path])
            let text = try String(contentsOf: file, encoding: .utf8)
            #expect(text.contains("192.0.2.1") != isErased && text.contains(#""context":{"#) != isErased)
            try await Customerd.succeed(["audit", "verify", "--certificate", file.path, "--public-key", key.publicKey])
        }
    }

    @Test("is kept by default")
    func kept() async throws {
        let stage = try await Stage.open(isStarted: false, prepare: Self.old)
        try await stage.restart()
        let tenant = try await stage.tenant()
        _ = try await tenant.delete(newID())

        #expect(try await count(stage, "context_salt IS NULL") == "0")
        #expect(try await count(stage, "action = 'trail.retention'") == "0")
    }
}
