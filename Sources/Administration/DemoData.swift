public import LibPQ

/// Invented customers with their records, made by the database itself: the names go in once, the rest is SQL.
///
/// The same seed gives the same data, digit by digit, on every server: what looks random is SHA-256 of the seed, the
/// run and the number of the row, and all times lie before `2025-10-05`. A further run with the same seed adds others.
public struct DemoData: Sendable {
    private static let batch = 10_000

    /// How many customers to make.
    public var customers: Int
    /// How many of them have records that forbid deletion.
    public var blocked: Int
    public var app: UUID
    public var seed: Int

    /// - Parameter blockedFraction: from 0 to 1; the number is rounded to the nearest.
    public init(customers: Int, blockedFraction: Double, app: UUID = DemoApp.id, seed: Int = 1) {
        self.customers = customers
        self.blocked = Int((Double(customers) * blockedFraction).rounded())
        self.app = app
        self.seed = seed
    }

    /// What was made.
    public struct Report: Sendable, Hashable {
        public internal(set) var customers = 0
        public internal(set) var blocked = 0
        public internal(set) var invoices = 0
        public internal(set) var paymentLinks = 0
        public internal(set) var transactions = 0
        public internal(set) var liquidationAddresses = 0
    }

    /// Inserts everything in one transaction.
    ///
    /// - Parameter connection: a session of the owner.
    public func insert(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Report {
        var run = 0
        while true {
            do {
                return try await insert(connection, firstRun: &run, deadline: deadline)
            } catch {
                try? await connection.script("ROLLBACK", deadline: .now + .seconds(2))
                // A customer of an earlier run that the probe has missed.
                guard error.sqlstate == .uniqueViolation else { throw error }
                run += 1
            }
        }
    }

    private func insert(
        _ connection: Connection, firstRun run: inout Int, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Report {
        try await connection.script(
            """
            BEGIN;
            SET LOCAL statement_timeout = 0;
            SET LOCAL idle_in_transaction_session_timeout = 0;
            -- Compiling the batch takes longer than running it.
            SET LOCAL jit = off;
            SELECT pg_catalog.pg_advisory_xact_lock(hashtextextended('customerd seed \(app.text) \(seed)', 0));
            """,
            deadline: deadline
        )
        while try await isTaken(run: run, connection, deadline: deadline) { run += 1 }
        var report = Report()
        for start in stride(from: 1, through: customers, by: Self.batch) {
            let end = min(customers, start + Self.batch - 1)
            try await insert(start...end, run: run, into: &report, connection, deadline: deadline)
        }
        report.blocked = blocked
        try await connection.script("COMMIT", deadline: deadline)
        try await connection.script(
            """
            ANALYZE public.customers, public.invoices, public.payment_links, public.transactions,
                    public.liquidation_addresses
            """,
            deadline: deadline
        )
        return report
    }

    /// Whether customers of this run are there already.
    private func isTaken(
        run: Int, _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Bool {
        let taken = try await connection.query(
            Statement(
                """
                SELECT EXISTS (
                    SELECT
                    FROM public.customers AS c
                    WHERE c.app_id = $1::uuid
                      AND c.id = ANY (ARRAY(
                          SELECT overlay(overlay(encode(substr(sha256(d.h), 1, 16), 'hex')
                                                 PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid
                          FROM (SELECT sha256(convert_to(concat_ws(':', 'customer', $1::text, $2::text, $3::text, i),
                                                         'UTF8')) AS h
                                FROM generate_series(1, least($4::bigint, 1000)) AS i) AS d)))
                """,
                [.uuid(app), .int(seed), .int(run), .int(customers)]
            ),
            deadline: deadline
        )
        return taken.rows.first?.bool(0) == true
    }

    /// One statement makes a batch: foreign keys are looked at when it ends, so its parts may come in any order.
    private func insert(
        _ range: ClosedRange<Int>, run: Int, into report: inout Report, _ connection: Connection,
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) {
        let inserted = try await connection.query(
            Statement(
                """
                WITH drawn AS MATERIALIZED (
                    -- Bytes that look random, and every (customers/blocked)th customer blocked, exactly.
                    SELECT i,
                           sha256(convert_to(concat_ws(':', 'customer', $1::text, $2::text, $3::text, i), 'UTF8')) AS h,
                           i * $6::bigint / $7::bigint AS nth_blocked,
                           i * $6::bigint / $7::bigint > (i - 1) * $6::bigint / $7::bigint AS is_blocked
                    FROM generate_series($4::bigint, $5::bigint) AS i
                ),
                sorted AS MATERIALIZED (
                    SELECT d.*,
                           ($12::int[])[1 + (get_byte(h, 0) * 256 + get_byte(h, 1)) % 100] AS region,
                           (get_byte(h, 6) * 256 + get_byte(h, 7)) % 1000 AS permille,
                           timestamptz '2021-01-01 00:00:00+00'
                               + make_interval(secs => trunc(141900000.0::numeric
                                   * (get_byte(h, 10) * 65536 + get_byte(h, 11) * 256 + get_byte(h, 12)) / 16777216)::int)
                               + make_interval(secs => (get_byte(h, 29) * 3906 + get_byte(h, 30) * 15) / 1000000.0)
                               AS created_at
                    FROM drawn AS d
                ),
                person AS MATERIALIZED (
                    SELECT s.i, s.h, s.nth_blocked, s.is_blocked, s.created_at,
                           overlay(overlay(encode(substr(sha256(h), 1, 16), 'hex')
                                           PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
                           ($8::text[])[1 + s.region * 16 + get_byte(h, 2) % 16] AS first_name,
                           ($9::text[])[1 + s.region * 16 + get_byte(h, 3) % 16] AS last_name,
                           ($10::text[])[1 + s.region * 16 + get_byte(h, 2) % 16] AS first_ascii,
                           ($11::text[])[1 + s.region * 16 + get_byte(h, 3) % 16] AS last_ascii,
                           regexp_replace(regexp_replace(regexp_replace(regexp_replace(($13::text[])[1 + s.region],
                               '#', (get_byte(h, 21) % 10)::text),
                               '#', (get_byte(h, 22) % 10)::text),
                               '#', (get_byte(h, 23) % 10)::text),
                               '#', (get_byte(h, 24) % 10)::text) AS phone_number,
                           ($14::text[])[1 + s.region] AS currency,
                           CASE WHEN permille < 620 THEN 'Individual'
                                WHEN permille < 760 THEN 'Small Business'
                                WHEN permille < 840 THEN 'Startup'
                                WHEN permille < 910 THEN 'Medium Business'
                                WHEN permille < 950 THEN 'Enterprise'
                                WHEN permille < 980 THEN 'Non-Profit'
                                ELSE 'Government' END AS customer_type,
                           -- The logarithm of what they usually spend.
                           CASE WHEN permille < 620 THEN 3.9
                                WHEN permille < 760 THEN 5.8
                                WHEN permille < 840 THEN 5.2
                                WHEN permille < 910 THEN 7.0
                                WHEN permille < 950 THEN 8.6
                                WHEN permille < 980 THEN 5.0
                                ELSE 7.8 END AS usual,
                           CASE WHEN get_byte(h, 17) >= 38
                                THEN s.created_at + (timestamptz '2025-10-01 00:00:00+00' - s.created_at)
                                    * sqrt((get_byte(h, 18) * 256 + get_byte(h, 19)) / 65536.0::float8)
                           END AS last_purchase_date,
                           CASE WHEN NOT s.is_blocked OR s.nth_blocked % 10 IN (7, 8, 9) THEN 0
                                ELSE 1 + get_byte(h, 25) % 4 END AS invoices,
                           CASE WHEN NOT s.is_blocked THEN 0
                                WHEN s.nth_blocked % 10 = 7 THEN 1 + get_byte(h, 26) % 2
                                WHEN s.nth_blocked % 10 IN (8, 9) THEN 0
                                ELSE (get_byte(h, 26) < 102)::int END AS payment_links,
                           CASE WHEN NOT s.is_blocked THEN 0
                                WHEN s.nth_blocked % 10 = 8 THEN 1 + get_byte(h, 27) % 4
                                WHEN s.nth_blocked % 10 IN (7, 9) THEN 0
                                WHEN get_byte(h, 27) < 154 THEN 1 + get_byte(h, 27) % 4
                                ELSE 0 END AS transactions,
                           CASE WHEN NOT s.is_blocked THEN 0
                                WHEN s.nth_blocked % 10 = 9 THEN 1
                                WHEN s.nth_blocked % 10 IN (7, 8) THEN 0
                                ELSE (get_byte(h, 28) < 31)::int END AS liquidation_addresses
                    FROM sorted AS s
                ),
                new_customers AS (
                    INSERT INTO public.customers
                        (app_id, id, first_name, last_name, email, phone_number, status, customer_type, last_spent,
                         last_purchase_date, created_at, updated_at)
                    SELECT $1::uuid,
                           p.id,
                           p.first_name,
                           p.last_name,
                           CASE WHEN get_byte(h, 20) >= 18
                                THEN p.first_ascii
                                    || (ARRAY['.', '.', '_', ''])[1 + get_byte(h, 4) % 4]
                                    || p.last_ascii
                                    || CASE WHEN get_byte(h, 4) < 150 THEN (get_byte(h, 5) * 4 % 1000)::text ELSE '' END
                                    || '@'
                                    || CASE WHEN p.customer_type = 'Individual'
                                            THEN (ARRAY['example.com', 'example.com', 'mail.example.org', 'example.net',
                                                        'post.example'])[1 + get_byte(h, 5) % 5]
                                            ELSE p.last_ascii || '.example' END
                           END,
                           p.phone_number,
                           CASE WHEN get_byte(h, 9) < 225 THEN 'ACTIVE'
                                WHEN get_byte(h, 9) < 246 THEN 'DEACTIVATED'
                                ELSE 'BLACKLISTED' END,
                           p.customer_type,
                           -- Log-normal, by Box and Muller.
                           CASE WHEN p.last_purchase_date IS NOT NULL
                                THEN round(exp(p.usual + 1.1
                                    * sqrt(-2 * ln((get_byte(h, 13) * 256 + get_byte(h, 14) + 1) / 65537.0::float8))
                                    * cos(2 * pi() * (get_byte(h, 15) * 256 + get_byte(h, 16)) / 65536.0::float8)
                                    )::numeric, 2)
                           END,
                           p.last_purchase_date,
                           p.created_at,
                           coalesce(p.last_purchase_date, p.created_at)
                               + make_interval(secs => get_byte(h, 31) * 1013)
                    FROM person AS p
                    RETURNING 1
                ),
                new_invoices AS (
                    INSERT INTO public.invoices
                        (app_id, id, customer_id, invoice_number, status, amount, currency, due_date, created_at,
                         updated_at)
                    SELECT $1::uuid, d.id, p.id,
                           CASE WHEN d.status <> 'draft'
                                THEN 'INV-' || extract(year FROM d.at AT TIME ZONE 'UTC')
                                    || '-' || lpad((p.i * 10 + d.j)::text, 6, '0') END,
                           d.status, d.amount, p.currency,
                           CASE WHEN d.status <> 'draft' THEN (d.at AT TIME ZONE 'UTC')::date + 30 END,
                           d.at,
                           d.at + CASE d.status WHEN 'paid' THEN interval '12 days' ELSE interval '0' END
                    FROM person AS p
                    CROSS JOIN LATERAL (
                        SELECT g.j,
                               overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
                               (ARRAY['draft', 'pending', 'paid'])[1 + (p.nth_blocked + g.j) % 3] AS status,
                               round(exp(p.usual + get_byte(g.h, 20) / 100.0 - 1.28)::numeric
                                     + get_byte(g.h, 21) / 100.0, 2) AS amount,
                               p.created_at + (timestamptz '2025-09-01 00:00:00+00' - p.created_at)
                                   * (get_byte(g.h, 18) / 256.0::float8) AS at
                        FROM (SELECT j, sha256(p.h || convert_to('invoice ' || j, 'UTF8')) AS h
                              FROM generate_series(1, p.invoices) AS j
                              OFFSET 0) AS g
                        OFFSET 0) AS d
                    WHERE p.is_blocked
                    RETURNING 1
                ),
                new_payment_links AS (
                    INSERT INTO public.payment_links
                        (app_id, id, customer_id, url, status, amount, currency, expires_at, created_at, updated_at)
                    SELECT $1::uuid, d.id, p.id, 'https://pay.example.com/l/' || d.slug, d.status, d.amount, p.currency,
                           CASE WHEN d.status = 'active' THEN NULL ELSE d.at + interval '14 days' END, d.at, d.at
                    FROM person AS p
                    CROSS JOIN LATERAL (
                        SELECT overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
                               encode(substr(g.h, 20, 8), 'hex') AS slug,
                               (ARRAY['active', 'active', 'paid', 'expired'])[1 + get_byte(g.h, 17) % 4] AS status,
                               round(exp(p.usual + get_byte(g.h, 16) / 100.0 - 1.28)::numeric, 2) AS amount,
                               p.created_at + (timestamptz '2025-09-01 00:00:00+00' - p.created_at)
                                   * (get_byte(g.h, 18) / 256.0::float8) AS at
                        FROM (SELECT sha256(p.h || convert_to('payment link ' || j, 'UTF8')) AS h
                              FROM generate_series(1, p.payment_links) AS j
                              OFFSET 0) AS g
                        OFFSET 0) AS d
                    WHERE p.is_blocked
                    RETURNING 1
                ),
                new_transactions AS (
                    INSERT INTO public.transactions
                        (app_id, id, customer_id, kind, status, amount, currency, occurred_at, created_at)
                    SELECT $1::uuid, d.id, p.id, d.kind, d.status,
                           CASE d.kind WHEN 'payment' THEN d.amount ELSE -d.amount END, p.currency,
                           d.at, d.at + interval '1.5 seconds'
                    FROM person AS p
                    CROSS JOIN LATERAL (
                        SELECT overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid AS id,
                               (ARRAY['payment', 'payment', 'payment', 'refund', 'payout'])[1 + get_byte(g.h, 17) % 5]
                                   AS kind,
                               CASE WHEN get_byte(g.h, 19) < 235 THEN 'settled'
                                    WHEN get_byte(g.h, 19) < 248 THEN 'pending'
                                    ELSE 'failed' END AS status,
                               round(exp(p.usual + get_byte(g.h, 16) / 100.0 - 1.28)::numeric, 2) AS amount,
                               p.created_at + (timestamptz '2025-10-01 00:00:00+00' - p.created_at)
                                   * (get_byte(g.h, 18) / 256.0::float8) AS at
                        FROM (SELECT sha256(p.h || convert_to('transaction ' || j, 'UTF8')) AS h
                              FROM generate_series(1, p.transactions) AS j
                              OFFSET 0) AS g
                        OFFSET 0) AS d
                    WHERE p.is_blocked
                    RETURNING 1
                ),
                new_addresses AS (
                    INSERT INTO public.liquidation_addresses
                        (app_id, id, customer_id, chain, currency, address, created_at, updated_at)
                    SELECT $1::uuid,
                           overlay(overlay(encode(substr(g.h, 1, 16), 'hex') PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid,
                           p.id,
                           (ARRAY['ethereum', 'polygon', 'base', 'arbitrum'])[1 + get_byte(g.h, 17) % 4],
                           (ARRAY['usdc', 'usdt', 'eurc'])[1 + get_byte(g.h, 18) % 3],
                           '0x' || encode(substr(g.h, 13, 20), 'hex'),
                           p.created_at + interval '1 hour',
                           p.created_at + interval '1 hour'
                    FROM person AS p
                    CROSS JOIN LATERAL (
                        SELECT sha256(p.h || convert_to('liquidation address ' || j, 'UTF8')) AS h
                        FROM generate_series(1, p.liquidation_addresses) AS j
                        OFFSET 0) AS g
                    WHERE p.is_blocked
                    RETURNING 1
                )
                SELECT (SELECT count(*) FROM new_customers),
                       (SELECT count(*) FROM new_invoices),
                       (SELECT count(*) FROM new_payment_links),
                       (SELECT count(*) FROM new_transactions),
                       (SELECT count(*) FROM new_addresses)
                """,
                [
                    .uuid(app), .int(seed), .int(run), .int(range.lowerBound), .int(range.upperBound),
                    .int(blocked), .int(customers),
                ] + DemoRegion.parameters
            ),
            deadline: deadline
        ).rows[0]
        report.customers += inserted.int(0) ?? 0
        report.invoices += inserted.int(1) ?? 0
        report.paymentLinks += inserted.int(2) ?? 0
        report.transactions += inserted.int(3) ?? 0
        report.liquidationAddresses += inserted.int(4) ?? 0
    }
}
