import TestSupport
import Testing

/// PostgreSQL keeps the plans of functions and prepared statements. A plan that is made while a table is tiny, as after a
/// night without requests, must not be one that reads the whole table once that has grown.
@Suite("Plans that sessions keep", .stages)
struct KeptPlanTests {
    private static let tables = [
        "public.customers", "public.invoices", "public.payment_links", "public.transactions",
        "public.liquidation_addresses", "audit.entries", "audit.heads", "service.attempts", "service.floods",
        "service.rate_windows", "service.redactions", "service.api_keys",
    ]

    @Test("read only the rows that a request is about, however the tables have grown since")
    func grown() async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_RATE_LIMIT": "1000000", "CUSTOMERD_RESTORE_DAYS": "1", "CUSTOMERD_POOL_SIZE": "2"])
        // The rows that make the tables large have no entries.
        stage.leaveTrailBroken()
        let database = stage.database
        for table in Self.tables { try await database.run("ALTER TABLE \(table) SET (autovacuum_enabled = off)") }
        let service = try await stage.secondService()
        let tenant = try await stage.tenant().through(service)
        // The planner takes a table for tiny once it is known to be: after a purge. Of a new one it expects some pages.
        try await database.run("VACUUM ANALYZE service.attempts, service.floods, service.rate_windows")
        // A statement gets the plan that is kept when it runs for the sixth time in a session.
        for _ in 1...15 { try await ask(tenant) }

        try await grow(database, tenant.app)
        let before = try await rowsRead(database)
        for _ in 1...5 { try await ask(tenant) }
        // Sessions report what they did when they end.
        service.terminate()
        #expect(await service.exitStatus(within: .hang) == 0)

        let after = try await rowsRead(database)
        for table in Self.tables {
            let read = (after[table] ?? 0) - (before[table] ?? 0)
            #expect(read < 1_000, "\(table): \(read) rows were read")
        }
    }

    /// A session plans a statement, or an expression with a query in it, for its first five runs. Then it keeps the plan,
    /// unless one that is made for the values at hand seems cheaper: `found OR EXISTS (…)` needs no query when it was found.
    /// Planning takes longer than running. SQL functions that aren't inlined are planned once a transaction.
    /// Source: PostgreSQL manual, "PL/pgSQL under the Hood", "Plan Caching"; log_planner_stats.
    @Test("are made once in a session: no request that it has often had makes it plan anything")
    func madeOnce() async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_RATE_LIMIT": "1000000", "CUSTOMERD_POOL_SIZE": "2"], in: .ownCluster(),
            prepare: """
                ALTER ROLE customerd_service SET log_planner_stats = on;
                ALTER ROLE customerd_service SET log_error_verbosity = default
                """)
        let tenant = try await stage.tenant()
        let rounds = 60
        for _ in 1...rounds { try await askOften(tenant) }

        // In each of the few sessions: five for the values at hand, one to keep, some because a table's statistics changed.
        let plans = try plans(stage)
        let again = plans.filter { $0.value >= rounds }

        #expect(again.isEmpty, "\(again)")
        #expect(plans.count > 20, "the log tells of plans")
    }

    /// Requests of the kinds that there are many of.
    private func askOften(_ tenant: Tenant) async throws {
        let (free, bound, other) = (try await tenant.insert(), try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: bound.id)
        let key = newID()
        #expect(try await tenant.delete(bound.id).status == 400)
        #expect(try await tenant.delete(free.id, idempotencyKey: key).status == 200)
        #expect(try await tenant.delete(free.id, idempotencyKey: key).status == 200)
        #expect(try await tenant.delete(free.id).status == 404)
        #expect(try await tenant.patch(other.id, #"{"first_name":"Other"}"#).status == 200)
        #expect(try await tenant.ask("GET", "/\(other.id)").status == 200)
        #expect(try await tenant.ask("PUT", "/\(other.id)/hold", #"{"reason":"court"}"#).status == 200)
        #expect(try await tenant.delete(other.id).status == 400)
        #expect(try await tenant.ask("DELETE", "/\(other.id)/hold").status == 200)
        #expect(try await tenant.post("archive", other.id).status == 200)
    }

    /// How often the sessions have planned each statement or expression of requests, by the server's log. What runs in the
    /// background may be planned each time: it runs once a second.
    private func plans(_ stage: Stage) throws -> [String: Int] {
        let background = /due_apps|bulk_apps|_lag"|overdue|listening|retention_apps|forget_samples|purge|webhook/
        var counted: [String: Int] = [:]
        for record in stage.database.cluster.log.split(separator: "PLANNER STATISTICS").dropFirst() {
            let told = record.prefix(upTo: record.firstRange(of: " LOG:  ")?.lowerBound ?? record.endIndex)
            guard let mark = told.firstRange(of: "CONTEXT:  ") ?? told.firstRange(of: "STATEMENT:  ") else { continue }
            let lines = told[mark.upperBound...].split(separator: "\n").prefix { !$0.contains("STATEMENT:  ") }
            let sentence = lines.prefix(6).joined(separator: "\n")
            if !told.contains(background) { counted[sentence, default: 0] += 1 }
        }
        return counted
    }

    /// One request of every kind.
    private func ask(_ tenant: Tenant) async throws {
        let (free, bound, other) = (try await tenant.insert(), try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: bound.id)
        let key = newID()
        #expect(try await tenant.delete(bound.id).status == 400)
        #expect(try await tenant.delete(free.id, idempotencyKey: key).status == 200)
        #expect(try await tenant.delete(free.id, idempotencyKey: key).status == 200)
        #expect(try await tenant.post("restore", free.id).status == 200)
        #expect(try await tenant.post("archive", free.id).status == 200)
        #expect(try await tenant.bulkDelete([free.id, bound.id]).status == 200)
        #expect(try await tenant.post("redact", other.id).status == 200)
        #expect(try await tenant.ask("GET", "/\(other.id)").status == 200)
        #expect(try await tenant.ask("GET", "/\(other.id)/deletion-check").status == 200)
        #expect(try await tenant.ask("GET", "/\(bound.id)/invoices").status == 200)
    }

    private func grow(_ database: TestDatabase, _ app: String) async throws {
        try await database.run(
            """
            INSERT INTO customers (app_id, id, first_name, last_name, phone_number)
            SELECT '\(app)', md5('customer ' || n)::uuid, 'Given', 'Family', '1' FROM generate_series(1, 2000) AS n;
            INSERT INTO invoices (app_id, customer_id)
            SELECT '\(app)', md5('customer ' || n)::uuid FROM generate_series(1, 2000) AS n;
            INSERT INTO payment_links (app_id, customer_id) SELECT app_id, customer_id FROM invoices;
            INSERT INTO transactions (app_id, customer_id) SELECT app_id, customer_id FROM invoices;
            INSERT INTO liquidation_addresses (app_id, customer_id) SELECT app_id, customer_id FROM invoices;
            INSERT INTO service.attempts
                (app_id, attempt_id, key_id, action, customer_id, admitted_at, fingerprint, fingerprint_salt, entry,
                 lease_expires_at, ttl, outcome, finished_at, expires_at, entry_seq)
            SELECT '\(app)', gen_random_uuid(), gen_random_uuid(), 'customer.delete', gen_random_uuid(), now(), '\\x01',
                   '\\x02', '{}', now(), '1 day', 'SUCCEEDED', now(), now() + interval '1 day', 100000 + n
            FROM generate_series(1, 2000) AS n;
            INSERT INTO audit.entries (
                seq, id, app_id, occurred_at, recorded_at, action, outcome, customer_id, previous_hash, hash,
                subject_commitment, context_commitment)
            SELECT 100000 + n, gen_random_uuid(), '\(app)', now(), now(), 'customer.delete', 'SUCCEEDED',
                   gen_random_uuid(), sha256(''), sha256(''), '', ''
            FROM generate_series(1, 2000) AS n;
            INSERT INTO audit.heads SELECT gen_random_uuid(), 0, sha256('') FROM generate_series(1, 2000) AS n;
            INSERT INTO service.redactions (app_id, customer_id, attempt_id, redacted_at, record, entry_seq, is_erased)
            SELECT '\(app)', gen_random_uuid(), gen_random_uuid(), now(), '{}', 1, true FROM generate_series(1, 2000) AS n;
            INSERT INTO service.api_keys (app_id, client_key, secret_digest, name, role)
            SELECT gen_random_uuid(), 'ck_' || n, sha256(''), 'key', 'viewer' FROM generate_series(1, 2000) AS n;
            SELECT pg_stat_force_next_flush()
            """)
    }

    private func rowsRead(_ database: TestDatabase) async throws -> [String: Int] {
        let rows = try await database.rows(
            """
            SELECT schemaname || '.' || relname AS name,
                   -- Among the indexes of these two, the planner may take another while they are small.
                   seq_tup_read + CASE WHEN relname IN ('entries', 'redactions') THEN 0 ELSE coalesce(idx_tup_fetch, 0) END
                       AS read
            FROM pg_stat_user_tables
            """)
        return Dictionary(
            rows.compactMap { row in row["name"].map { ($0, row["read"].flatMap { Int($0) } ?? 0) } }
        ) { first, _ in first }
    }
}
