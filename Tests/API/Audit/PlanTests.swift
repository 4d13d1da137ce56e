import Foundation
import LibPQ
import TestSupport
import Testing

/// The service's sessions log their plans.
private let explain = """
    DO $$
    DECLARE
        setting text;
    BEGIN
        FOREACH setting IN ARRAY ARRAY[
            'session_preload_libraries = auto_explain', 'auto_explain.log_min_duration = 0',
            'auto_explain.log_format = json', 'auto_explain.log_nested_statements = on'
        ] LOOP
            EXECUTE format('ALTER DATABASE %I SET %s', current_database(), setting);
        END LOOP;
    END $$;
    """

/// The plans of what the service really runs, as `auto_explain` writes them into the server's log.
@Suite(
    "Plans at fifty thousand customers", .serialized, .unlimitedStage(in: .ownCluster(), prepare: explain))
struct PlanTests {
    private static let large = [
        "customers", "invoices", "payment_links", "transactions", "liquidation_addresses", "entries",
    ]

    /// An app with half of the data.
    private static let tenant = Task { () throws -> Tenant in
        // Fifty thousand entries that no service appended.
        Stage.current.leaveTrailBroken()
        let tenant = try await Stage.current.tenant()
        try await tenant.database.run(seed(app: tenant.app))
        try await tenant.database.run("VACUUM ANALYZE")
        return tenant
    }

    /// Half of the customers and entries belong to another app.
    private static func seed(app: String) -> String {
        """
        CREATE TEMPORARY TABLE apps AS SELECT unnest(ARRAY['\(app)', '\(newID())']::uuid[]) AS app_id;
        INSERT INTO customers (app_id, id, first_name, last_name, email, phone_number, created_at, status)
        SELECT a.app_id, md5(n || '/' || a.app_id)::uuid, 'Given' || n % 977, 'Family' || n % 991,
               'mail' || n || '@example.com', '+49 170 ' || n, now() - make_interval(secs => n),
               CASE WHEN n % 100 = 0 THEN 'BLACKLISTED' ELSE 'ACTIVE' END
        FROM apps AS a, generate_series(1, 25000) AS n;
        INSERT INTO invoices (app_id, customer_id) SELECT c.app_id, c.id FROM customers AS c;
        INSERT INTO payment_links (app_id, customer_id) SELECT c.app_id, c.id FROM customers AS c;
        INSERT INTO transactions (app_id, customer_id) SELECT c.app_id, c.id FROM customers AS c;
        INSERT INTO liquidation_addresses (app_id, customer_id) SELECT c.app_id, c.id FROM customers AS c;
        INSERT INTO audit.entries (
            seq, id, app_id, occurred_at, recorded_at, action, outcome, customer_id, actor_client_key, actor_name,
            actor_claimed, previous_hash, hash, subject_commitment, context_commitment)
        SELECT n, gen_random_uuid(), a.app_id, now() - make_interval(secs => 25000 - n), now(), 'customer.delete',
               CASE WHEN n % 1000 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, md5(n % 2500 || '/' || a.app_id)::uuid,
               'ck_' || n % 500, 'key ' || n % 500, 'actor ' || n % 500, sha256(''), sha256(''), '', ''
        FROM apps AS a, generate_series(1, 25000) AS n;
        INSERT INTO audit.heads SELECT a.app_id, 25000, sha256('') FROM apps AS a
        """
    }

    /// A request, a piece of the statement that it leads to, and the index that has to serve it.
    static let reads: [(path: String, statement: String, index: String)] = [
        ("/api/v0/customers?name=given12+family", "(SELECT count(*) FROM matching", "customers_by_name"),
        ("/api/v0/customers?name=mily345", "(SELECT count(*) FROM matching", "customers_by_name"),
        ("/api/v0/customers?email=mail2499", "(SELECT count(*) FROM matching", "customers_by_email"),
        ("/api/v0/customers?phone=2499", "(SELECT count(*) FROM matching", "customers_by_phone"),
        ("/api/v0/customers?archived=true", "string_agg(service.record(c.*)", "customers_by_archive"),
        ("/api/v0/customers?id={id}", "(SELECT count(*) FROM matching", "customers_pkey"),
        ("/api/v0/customers?status=BLACKLISTED", "string_agg(service.record(c.*)", "customers_by_status"),
        ("/api/v0/customers?skip=10000", "string_agg(service.record(c.*)", "customers_by_age"),
        ("/api/v0/customers?cursor={cursor}&total=exact", "UNION ALL", "customers_by_age"),
        ("/api/v0/customers?cursor={cursor}&status=ACTIVE", "UNION ALL", "customers_by_status"),
        ("/api/v0/customers?name=given&total=none", "string_agg(service.record(c.*)", "customers_by_age"),
        ("/api/v0/customers/{id}/deletion-check", "JOIN ONLY public.invoices", "invoices_by_customer"),
        ("/api/v0/customers/{id}/deletion-check", "JOIN ONLY public.transactions", "transactions_by_customer"),
        ("/api/v0/customers/{id}/invoices", "FROM service.dependents", "invoices_by_customer"),
        (
            "/api/v0/customers/{id}/liquidation-addresses", "FROM service.dependents",
            "liquidation_addresses_by_customer"
        ),
        ("/api/v0/customers/{id}/export", "service.audit_entry(e) AS record", "entries_by_customer"),
        ("/api/v0/audit?customer_id={id}", "FROM audit.entries", "entries_by_customer"),
        ("/api/v0/audit?outcome=FAILED", "FROM audit.entries", "entries_by_outcome"),
        ("/api/v0/audit?actor=actor+7", "FROM audit.entries", "entries_by_claimed_actor"),
        ("/api/v0/audit", "FROM audit.entries", "entries_pkey"),
    ]

    @Test("a read goes through its index, and through no large table as a whole", arguments: reads)
    func usesIndex(path: String, statement: String, index: String) async throws {
        let tenant = try await Self.tenant.value
        let id = try #require(
            try await tenant.database.value("SELECT md5(7 || '/' || $1)::uuid::text", [.text(tenant.app)]))
        let first = try await tenant.get("/api/v0/customers", [("cursor", "*")])
        let cursor = try #require(try first.object["next_cursor"] as? String)
        let mark = tenant.database.cluster.log.utf8.count

        let answer = try await tenant.send(
            HTTPCall(
                "GET", path.replacing("{id}", with: id).replacing("{cursor}", with: cursor), headers: tenant.key.headers
            ))
        #expect(answer.status == 200, "\(answer)")

        var plan = ""
        try await eventually("the plan was logged") {
            let plans = String(tenant.database.cluster.log.utf8.dropFirst(mark))?.split(separator: "plan:") ?? []
            plan = plans.last { $0.contains(statement) && $0.contains("\"Plan\"") }.map(String.init) ?? ""
            return !plan.isEmpty
        }
        #expect(plan.contains("\"Index Name\": \"\(index)\""), "\(plan)")
        for table in Self.large {
            let scan = #"(?s)"Node Type": "Seq Scan",[^{}]*"Relation Name": "\#(table)""#
            #expect(plan.firstMatch(of: try Regex(scan)) == nil, "\(plan)")
        }
    }

    @Test(
        "the estimate of a large total is near, and never less than what was counted",
        arguments: ["", "&name=given", "&email=mail", "&status=ACTIVE"])
    func estimate(filter: String) async throws {
        let tenant = try await Self.tenant.value

        let page = try await tenant.send(
            HTTPCall("GET", "/api/v0/customers?total=estimate\(filter)", headers: tenant.key.headers))

        let total = try #require(try page.total)
        #expect((20_000...30_000).contains(total))
        #expect(try page.column("first_name") == (1...10).map { "Given\($0)" })
    }
}
