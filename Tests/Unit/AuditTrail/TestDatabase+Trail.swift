import Foundation
import TestSupport

extension TestDatabase {
    /// Appends entries to a chain, with everything in them that can be odd.
    func append(_ count: Int, app: String, customer: String? = nil, action: String = "customer.delete") async throws {
        try await run(
            """
            SELECT service.append((
                SELECT jsonb_agg(jsonb_build_object(
                    'id', gen_random_uuid(),
                    'app_id', '\(app)',
                    'occurred_at', timestamptz '2024-02-29 23:59:59.999999+00' + i * interval '1 second',
                    'action', '\(action)',
                    'outcome', CASE i % 3 WHEN 0 THEN 'REFUSED' WHEN 1 THEN 'SUCCEEDED' ELSE 'INTERRUPTED' END,
                    'status_code', CASE i % 3 WHEN 0 THEN 400 WHEN 1 THEN 200 END,
                    'customer_id', \(customer.map { "'\($0)'" } ?? "gen_random_uuid()"),
                    'before_image', CASE i % 3 WHEN 2 THEN NULL ELSE jsonb_build_object(
                        'first_name', 'Zoë 🙂 "quoted" \\\\ é', 'email', NULL, 'last_spent', 9999999999999999.99,
                        'empty', '', 'nested', jsonb_build_array(1, 1.50, true, NULL)) END,
                    'actor_key_id', gen_random_uuid(),
                    'actor_client_key', 'ck_' || repeat('x', 32),
                    'actor_name', 'Ops, night shift',
                    'actor_role', 'admin',
                    'actor_claimed', CASE i % 2 WHEN 0 THEN '' END,
                    'reason', CASE i % 4 WHEN 0 THEN 'asked for it' WHEN 1 THEN '' END,
                    'ip', CASE i % 2 WHEN 0 THEN '192.0.2.1' ELSE '2001:db8::1' END,
                    'user_agent', 'curl/8.0',
                    'request_id', 'r-' || i,
                    'idempotency_key', gen_random_uuid(),
                    'request', jsonb_build_object('method', 'DELETE', 'query', NULL, 'path', '/ü', 'headers', '{}'::jsonb),
                    'error_code', CASE i % 3 WHEN 0 THEN 'P2003' END,
                    'sqlstate', CASE i % 3 WHEN 0 THEN '23503' END,
                    'constraint_name', CASE i % 3 WHEN 0 THEN 'invoices_belong_to_a_customer' END,
                    'referencing_table', CASE i % 3 WHEN 0 THEN 'invoices' END,
                    'error_message', CASE i % 3 WHEN 0 THEN E'line\\nbreak' END) ORDER BY i)
                FROM generate_series(1, \(count)) AS i))
            """
        )
    }

    /// Appends the entry of a redaction.
    func appendRedaction(app: String, customer: String, seqs: [Int], outcome: String = "SUCCEEDED") async throws {
        try await run(
            """
            SELECT service.append(jsonb_build_array(jsonb_build_object(
                'id', gen_random_uuid(), 'app_id', '\(app)', 'occurred_at', clock_timestamp(),
                'action', 'customer.redact', 'outcome', '\(outcome)', 'status_code', 200,
                'customer_id', '\(customer)',
                'request', jsonb_build_object('method', 'POST', 'redacted_seqs', '\(seqs)'::jsonb))))
            """
        )
    }

    /// Lets a superuser do to the trail what they like.
    func disarm() async throws {
        try await run("ALTER TABLE audit.entries DISABLE TRIGGER ALL")
    }

    /// What `customerd audit verify --json` says about one chain, or all.
    func verify(app: String? = nil, as user: String = "postgres") async throws -> (status: Int32, verdict: Verdict) {
        let choice = app.map { ["--app", $0] } ?? []
        let ended = try await run(["audit", "verify", "--json"] + choice, as: user)
        return (ended.status, try ended.decoded(Verdict.self))
    }
}

struct Verdict: Decodable, Equatable {
    enum CodingKeys: String, CodingKey {
        case entries, verified, reason
        case brokenAt = "broken_at"
        case brokenApp = "broken_app"
    }

    var entries: Int
    var verified: Int
    var brokenAt: Int?
    var brokenApp: String?
    var reason: String?
}
