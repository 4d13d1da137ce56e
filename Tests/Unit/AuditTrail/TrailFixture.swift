import LibPQ
import TestSupport

/// A database with chains that the service's own functions have made.
struct TrailFixture {
    static let app = "018f2c9e-7d2b-7c31-9a53-0f6f2b0c8a11"

    let database: TestDatabase

    static func make() async throws -> TrailFixture {
        let database = try await TestDatabase.migrated()
        try await database.run(functions)
        return TrailFixture(database: database)
    }

    func drop() async throws {
        try await database.drop()
    }

    /// Appends entries of all kinds about so many customers, each with at least one before-image.
    func append(_ count: Int, app: String = app, customers: Int, from first: Int = 0) async throws {
        for start in stride(from: first, to: first + count, by: 500) {
            let size = min(500, first + count - start)
            try await query(
                "SELECT fixture.append($1, $2, $3, $4)", [.text(app), .int(start), .int(size), .int(customers)]
            )
        }
    }

    /// Redacts customers, each by an entry of its own.
    func redact(_ customers: Range<Int>, app: String = app) async throws {
        for start in stride(from: customers.lowerBound, to: customers.upperBound, by: 100) {
            let end = min(start + 100, customers.upperBound) - 1
            try await query(
                "SELECT fixture.redact($1, n) FROM generate_series($2::int, $3::int) AS n",
                [.text(app), .int(start), .int(end)]
            )
        }
    }

    /// Alters the trail as a superuser who has disabled its triggers.
    func alter(_ sql: String) async throws {
        try await database.run(
            """
            BEGIN;
            ALTER TABLE audit.entries DISABLE TRIGGER ALL;
            ALTER TABLE audit.nodes DISABLE TRIGGER ALL;
            ALTER TABLE audit.checkpoints DISABLE TRIGGER ALL;
            \(sql);
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed;
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_truncated;
            ALTER TABLE audit.nodes ENABLE ALWAYS TRIGGER nodes_are_never_changed;
            ALTER TABLE audit.nodes ENABLE ALWAYS TRIGGER nodes_are_never_truncated;
            ALTER TABLE audit.checkpoints ENABLE ALWAYS TRIGGER checkpoints_are_never_changed;
            ALTER TABLE audit.checkpoints ENABLE ALWAYS TRIGGER checkpoints_are_never_truncated;
            COMMIT;
            """
        )
    }

    private func query(_ sql: String, _ parameters: [Parameter]) async throws {
        let connection = try await database.connect()
        _ = try await connection.query(Statement(sql, parameters), deadline: .now + .seconds(300))
        await connection.close()
    }

    private static let functions = """
        CREATE SCHEMA fixture;

        CREATE FUNCTION fixture.customer(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
            SELECT md5('customer ' || n)::uuid
        $$;

        CREATE FUNCTION fixture.append(p_app uuid, p_first int, p_count int, p_customers int) RETURNS void
        LANGUAGE sql AS $$
            SELECT count(*)
            FROM (
                SELECT jsonb_agg(jsonb_build_object(
                    'id', md5(p_app || ' entry ' || i)::uuid,
                    'occurred_at', timestamptz '2024-01-15 10:30:00+00' + i * interval '1234567 microseconds',
                    'action', CASE WHEN i % 5 = 0 THEN 'customer.update' ELSE 'customer.delete' END,
                    'outcome', CASE WHEN i % 7 = 3 THEN 'REFUSED' WHEN i % 11 = 5 THEN 'INTERRUPTED' ELSE 'SUCCEEDED' END,
                    'status_code', CASE WHEN i % 11 <> 5 THEN 200 + i % 3 * 100 END,
                    'customer_id', fixture.customer(i % p_customers),
                    'before_image', CASE WHEN i < p_customers OR i % 3 = 0 THEN jsonb_build_object(
                        'id', fixture.customer(i % p_customers), 'first_name', 'Zoë "Z" \\ — 😀', 'last_name', 'No ' || i,
                        'email', NULL, 'last_spent', (i || '.50')::numeric(18, 2)) END,
                    'actor_key_id', md5('key')::uuid,
                    'actor_client_key', 'ck_' || i % 3,
                    'actor_name', 'tests',
                    'actor_role', 'admin',
                    'actor_claimed', CASE WHEN i % 2 = 0 THEN 'agent ' || i % 10 END,
                    'reason', CASE WHEN i % 4 <> 1 THEN E'because\\tof ' || i END,
                    'ip', '192.0.2.' || i % 256,
                    'user_agent', 'tests/1',
                    'request_id', 'r-' || i,
                    'idempotency_key', md5('idempotency ' || i)::uuid,
                    'request', jsonb_build_object('method', 'DELETE', 'path', '/api/v0/customers/' || i, 'query', NULL,
                                                  'headers', jsonb_build_object('accept', '*/*', 'weight', 1.50)),
                    'error_code', CASE WHEN i % 7 = 3 THEN 'P2003' END,
                    'sqlstate', CASE WHEN i % 7 = 3 THEN '23503' END,
                    'constraint_name', CASE WHEN i % 7 = 3 THEN 'invoices_belong_to_a_customer' END,
                    'referencing_table', CASE WHEN i % 7 = 3 THEN 'invoices' END,
                    'error_message', CASE WHEN i % 7 = 3 THEN 'still referenced' END) ORDER BY i) AS entries
                FROM generate_series(p_first, p_first + p_count - 1) AS i) AS made, service.append(p_app, made.entries)
        $$;

        CREATE FUNCTION fixture.redact(p_app uuid, p_customer int) RETURNS boolean LANGUAGE plpgsql AS $$
        DECLARE
            v_id uuid := md5(p_app || ' redaction ' || p_customer)::uuid;
        BEGIN
            INSERT INTO service.redactions (app_id, customer_id, attempt_id, redacted_at, record)
            VALUES (p_app, fixture.customer(p_customer), v_id, clock_timestamp(), '{}');
            PERFORM service.append(p_app, jsonb_build_array(jsonb_build_object(
                'id', v_id, 'action', 'customer.redact', 'outcome', 'SUCCEEDED', 'status_code', 200,
                'customer_id', fixture.customer(p_customer), 'reason', 'asked by the person',
                'actor_key_id', md5('key')::uuid, 'request', jsonb_build_object('method', 'POST'))));
            RETURN service.erase(p_app, fixture.customer(p_customer), 1000);
        END
        $$;
        """
}
