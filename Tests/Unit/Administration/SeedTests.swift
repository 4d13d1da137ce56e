import Customers
import Foundation
import LibPQ
import TestSupport
import Testing

/// `customerd seed`: the same data for the same seed, and exact numbers.
@Suite("Seed")
struct SeedTests {
    private struct Report: Decodable {
        enum CodingKeys: String, CodingKey {
            case customers, blocked, invoices, transactions, seconds
            case app = "app_id"
            case paymentLinks = "payment_links"
            case liquidationAddresses = "liquidation_addresses"
        }

        var app: String
        var customers: Int
        var blocked: Int
        var invoices: Int
        var paymentLinks: Int
        var transactions: Int
        var liquidationAddresses: Int
        var seconds: Double
    }

    private static let tables = ["customers", "invoices", "payment_links", "transactions", "liquidation_addresses"]

    /// A digest of everything that there is.
    private func fingerprint(_ database: TestDatabase) async throws -> [String] {
        var digests: [String] = []
        for table in Self.tables {
            let digest = try await database.value(
                "SELECT md5(string_agg(t::text, ',' ORDER BY t.id)) FROM public.\(table) AS t")
            digests.append(digest ?? "")
        }
        return digests
    }

    @Test("the same seed makes the same data, digit by digit; another seed makes other data")
    func determinism() async throws {
        var fingerprints: [[String]] = []
        for (seed, zone) in [("7", "UTC"), ("7", "Asia/Kathmandu"), ("8", "UTC")] {
            let database = try await TestDatabase.migrated()
            try await database.run("ALTER DATABASE \(database.name) SET timezone = '\(zone)'")
            try await database.customerd(["seed", "--customers", "500", "--seed", seed])
            try await database.run("ALTER DATABASE \(database.name) RESET timezone")
            fingerprints.append(try await fingerprint(database))
            try await database.drop()
        }

        #expect(fingerprints[0] == fingerprints[1])
        for (one, other) in zip(fingerprints[0], fingerprints[2]) { #expect(one != other) }
    }

    private static let blockedCount = """
        SELECT count(*)
        FROM public.customers AS c
        WHERE c.app_id = $1
          AND (EXISTS (SELECT FROM public.invoices AS r WHERE (r.app_id, r.customer_id) = (c.app_id, c.id))
               OR EXISTS (SELECT FROM public.payment_links AS r WHERE (r.app_id, r.customer_id) = (c.app_id, c.id))
               OR EXISTS (SELECT FROM public.transactions AS r WHERE (r.app_id, r.customer_id) = (c.app_id, c.id))
               OR EXISTS (SELECT FROM public.liquidation_addresses AS r
                          WHERE (r.app_id, r.customer_id) = (c.app_id, c.id)))
        """

    @Test(
        "exactly the fraction is blocked",
        arguments: [
            (1, "0", 0), (1, "1", 1), (10, "0.2", 2), (997, "0.37", 369), (100, "0", 0), (100, "1", 100),
        ])
    func blocked(customers: Int, fraction: String, expected: Int) async throws {
        let database = try await Shared.database.value
        let app = newID()

        let report = try await database.json(
            ["seed", "--customers", "\(customers)", "--app", app, "--blocked-fraction", fraction], as: Report.self)

        #expect(report.app == app)
        #expect(report.customers == customers)
        #expect(report.blocked == expected)
        #expect(try await database.value(Self.blockedCount, [.text(app)]) == "\(expected)")
        let made = [
            report.customers, report.invoices, report.paymentLinks, report.transactions, report.liquidationAddresses,
        ]
        for (table, count) in zip(Self.tables, made) {
            let found = try await database.value("SELECT count(*) FROM public.\(table) WHERE app_id = $1", [.text(app)])
            #expect(found == "\(count)", "\(table)")
        }
    }

    @Test("running it again adds as many more, to the demo app unless another is named")
    func again() async throws {
        let database = try await TestDatabase.migrated()

        for _ in 0..<3 { try await database.customerd(["seed", "--customers", "100"]) }
        try await database.run(
            "DELETE FROM public.customers AS c WHERE id = (SELECT id FROM public.customers AS c "
                + "WHERE NOT EXISTS (SELECT FROM public.invoices AS i WHERE i.customer_id = c.id) "
                + "AND NOT EXISTS (SELECT FROM public.payment_links AS i WHERE i.customer_id = c.id) "
                + "AND NOT EXISTS (SELECT FROM public.transactions AS i WHERE i.customer_id = c.id) "
                + "AND NOT EXISTS (SELECT FROM public.liquidation_addresses AS i WHERE i.customer_id = c.id) LIMIT 1)")
        try await database.customerd(["seed", "--customers", "100"])

        let count = try await database.value(
            "SELECT count(*) FROM public.customers WHERE app_id = $1", [.text("de300000-0000-4000-8000-000000000001")])
        #expect(count == "399")
        try await database.drop()
    }

    @Test("the data looks real")
    func plausible() async throws {
        let database = try await Shared.database.value
        let app = newID()
        try await database.customerd(["seed", "--customers", "5000", "--app", app])

        let facts = try await database.rows(
            """
            SELECT count(DISTINCT status) AS statuses,
                   count(DISTINCT customer_type) AS types,
                   count(*) FILTER (WHERE email IS NULL) BETWEEN 100 AND 900 AS some_without_email,
                   bool_and(email ~ '^[a-z0-9._-]+@[a-z0-9.-]+$') IS NOT FALSE AS emails,
                   bool_and(phone_number ~ '^\\+[0-9 -]{6,18}$') AS phones,
                   bool_and((last_spent IS NULL) = (last_purchase_date IS NULL)) AS purchases,
                   bool_and(last_spent > 0) AS amounts,
                   bool_and(created_at <= updated_at AND updated_at < now()) AS times,
                   bool_and(last_purchase_date BETWEEN created_at AND updated_at) AS purchase_times,
                   count(DISTINCT (first_name, last_name)) > 1000 AS many_names,
                   avg(last_spent) > 2 * percentile_cont(0.5) WITHIN GROUP (ORDER BY last_spent) AS skewed
            FROM public.customers
            WHERE app_id = $1
            """,
            [.text(app)]
        )
        let states = try await database.rows(
            "SELECT status FROM public.invoices WHERE app_id = $1 GROUP BY status ORDER BY status", [.text(app)])

        #expect(
            facts == [
                [
                    "statuses": "3", "types": "7", "some_without_email": "t", "emails": "t", "phones": "t",
                    "purchases": "t",
                    "amounts": "t", "times": "t", "purchase_times": "t", "many_names": "t", "skewed": "t",
                ]
            ])
        #expect(states.compactMap { $0["status"] } == ["draft", "paid", "pending"])
    }

    @Test(
        "bad numbers are bad usage",
        arguments: [
            ["--customers", "0"], ["--customers", "-5"], ["--customers", "many"], [],
            ["--customers", "5", "--blocked-fraction", "1.5"], ["--customers", "5", "--blocked-fraction", "nan"],
            ["--customers", "5", "--app", "00000000-0000-0000-0000-000000000000"],
        ])
    func badUsage(arguments: [String]) async throws {
        #expect(try await Shared.database.value.run(["seed"] + arguments).status == 2)
    }

    private enum Shared {
        static let database = Task { try await TestDatabase.migrated() }
    }
}
