import AuditTrail
import Customers
public import LibPQ

/// The tenant of the demo data, unless another is named.
public enum DemoApp {
    /// `de300000-0000-4000-8000-000000000001`; `scripts/run` has the same.
    public static let id = UUID(
        uuid: (0xde, 0x30, 0x00, 0x00, 0x00, 0x00, 0x40, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01))
}

/// Invented customers with their records, made by the database itself: the names go in once, the rest is SQL.
///
/// The same seed gives the same data, digit by digit, on every server: what looks random is SHA-256 of the seed, the
/// run and the number of the row, and all times lie before `2025-10-05`. A further run with the same seed adds others.
public struct DemoData: Sendable {
    private static let batch = 10_000
    /// One statement makes a batch.
    private static let batchSQL = EmbeddedText.files["sql/demo/customers.sql"] ?? ""

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
            BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
            SET LOCAL search_path = pg_catalog, pg_temp;
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

    private func insert(
        _ range: ClosedRange<Int>, run: Int, into report: inout Report, _ connection: Connection,
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) {
        let inserted = try await connection.query(
            Statement(
                Self.batchSQL,
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
