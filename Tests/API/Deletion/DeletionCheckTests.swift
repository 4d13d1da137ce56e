import Foundation
import TestSupport
import Testing

@Suite("The deletion-check", .unlimitedStage())
struct DeletionCheckTests {
    private func check(_ customer: String, _ tenant: Tenant) async throws -> HTTPAnswer {
        try await tenant.get("/api/v0/customers/\(customer)/deletion-check")
    }

    @Test("a customer without records is deletable")
    func deletable() async throws {
        let tenant = try await Stage.current.tenant(role: "viewer")
        let customer = try await tenant.insert()

        let answer = try await check(customer.id, tenant)

        #expect(answer.status == 200)
        #expect(
            answer.body
                == #"{"customer":\#(customer.record(app: tenant.app)),"deletable":true,"blockers":[],"cascades":[]}"#
        )
    }

    @Test("each blocking constraint is listed once, in order, with the exact number of rows")
    func blockers() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        for table in ["transactions", "invoices", "liquidation_addresses", "invoices", "payment_links", "invoices"] {
            try await tenant.insertDependent(table, of: customer.id)
        }

        let answer = try await check(customer.id, tenant)

        let counts = [("invoices", 3), ("liquidation_addresses", 1), ("payment_links", 1), ("transactions", 1)]
        let expected = counts.map { table, count in
            #"{"table":"\#(table)","constraint":"\#(table)_belong_to_a_customer","count":\#(count)}"#
        }
        #expect(
            answer.body.hasSuffix(
                #""deletable":false,"blockers":[\#(expected.joined(separator: ","))],"cascades":[]}"#),
            "\(answer)"
        )
    }

    @Test("a customer of another app, or of none, is a 404")
    func unknown() async throws {
        let tenant = try await Stage.current.tenant()
        let other = try await Stage.current.tenant()
        let customer = try await other.insert()

        for id in [customer.id, newID()] {
            let answer = try await check(id, tenant)
            #expect(answer.status == 404)
            #expect(answer.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        }
        #expect(try await check("1", tenant).message == "Validation failed (uuid is expected)")
    }

    @Test("records of a namesake in another app don't count")
    func namesake() async throws {
        let tenant = try await Stage.current.tenant()
        let other = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        try await other.insert(CustomerFixture { $0.id = customer.id })
        try await other.insertDependent("invoices", of: customer.id)

        #expect(try await check(customer.id, tenant).object["deletable"] as? Bool == true)
        #expect(try await check(customer.id, other).object["deletable"] as? Bool == false)
    }
}

/// Tables that the service doesn't know, in a database of their own.
@Suite(
    "The deletion-check and the deletion", .stages, .singleNode("the other tables would have to be distributed, too"))
struct DeletionCheckPropertyTests {
    private static let key = "FOREIGN KEY (app_id, customer_id) REFERENCES customers (app_id, id)"
    private static let columns = "app_id uuid NOT NULL, customer_id uuid NOT NULL"

    /// How a table is made, and what the check is to call it; nil if its key lets the customer go.
    private static let tables: [(name: String, create: String, called: String?)] = [
        ("invoices", "SELECT", "invoices"),
        ("transactions", "SELECT", "transactions"),
        ("later_plain", "CREATE TABLE later_plain (\(columns), \(key))", "later_plain"),
        ("later_restrict", "CREATE TABLE later_restrict (\(columns), \(key) ON DELETE RESTRICT)", "later_restrict"),
        (
            "later_deferred", "CREATE TABLE later_deferred (\(columns), \(key) DEFERRABLE INITIALLY DEFERRED)",
            "later_deferred"
        ),
        (
            "later_partitioned",
            """
            CREATE TABLE later_partitioned (\(columns), \(key)) PARTITION BY HASH (customer_id);
            CREATE TABLE later_part_0 PARTITION OF later_partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE later_part_1 PARTITION OF later_partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            CREATE INDEX ON later_partitioned (app_id, customer_id)
            """,
            "later_partitioned"
        ),
        (
            #""an odd Schema"."a ""T"" able""#,
            """
            CREATE SCHEMA "an odd Schema";
            CREATE TABLE "an odd Schema"."a ""T"" able" (customer_id uuid, app_id uuid, \(key) DEFERRABLE)
            """,
            #"an odd Schema.a "T" able"#
        ),
        (
            "later_reversed",
            """
            ALTER TABLE customers ADD CONSTRAINT customers_reversed UNIQUE (id, app_id);
            CREATE TABLE later_reversed (
                \(columns), FOREIGN KEY (customer_id, app_id) REFERENCES customers (id, app_id))
            """,
            "later_reversed"
        ),
        (
            "later_not_valid",
            "CREATE TABLE later_not_valid (\(columns)); ALTER TABLE later_not_valid ADD \(key) NOT VALID",
            "later_not_valid"
        ),
        ("later_cascade", "CREATE TABLE later_cascade (\(columns), \(key) ON DELETE CASCADE)", nil),
        (
            "later_set_null",
            "CREATE TABLE later_set_null (app_id uuid, customer_id uuid, \(key) ON DELETE SET NULL)", nil
        ),
    ]

    @Test("deletable says exactly whether the deletion then succeeds, and the counts are exact")
    func consistent() async throws {
        let tables = Self.tables.map(\.create).joined(separator: ";\n")
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "100000"], prepare: tables)
        let tenant = try await stage.tenant()
        var random = SeededGenerator(seed: 5)

        var outcomes: [Int: Int] = [:]
        for id in try await tenant.insert(count: 60) {
            var expected: [String: Int] = [:]
            for table in Self.tables where Int.random(in: 0..<20, using: &random) == 0 {
                let count = Int.random(in: 1...3, using: &random)
                for _ in 1...count { try await tenant.insertDependent(table.name, of: id) }
                if let called = table.called { expected[called] = count }
            }

            let check = try await tenant.get("/api/v0/customers/\(id)/deletion-check").object
            let deletion = try await tenant.delete(id)

            let blockers = try #require(check["blockers"] as? [[String: Any]])
            let counts = blockers.map { ($0["table"] as? String ?? "", $0["count"] as? Int ?? 0) }
            #expect(Dictionary(counts) { $0 + $1 } == expected)
            #expect(check["deletable"] as? Bool == expected.isEmpty)
            #expect(deletion.status == (expected.isEmpty ? 200 : 400), "\(deletion) \(check)")
            outcomes[deletion.status, default: 0] += 1
        }

        #expect(outcomes.count == 2, "both happen: \(outcomes)")
    }

    @Test("a customer who refers to himself alone can go")
    func selfReference() async throws {
        let stage = try await Stage.open(
            prepare: """
                ALTER TABLE customers ADD referred_by uuid;
                ALTER TABLE customers ADD CONSTRAINT customers_are_referred_by_a_customer
                    FOREIGN KEY (app_id, referred_by) REFERENCES customers (app_id, id)
                """
        )
        let tenant = try await stage.tenant()
        let ids = try await tenant.insert(count: 2)
        try await stage.database.run("UPDATE customers SET referred_by = '\(ids[0])'")

        func isDeletable(_ id: String) async throws -> Bool? {
            try await tenant.get("/api/v0/customers/\(id)/deletion-check").object["deletable"] as? Bool
        }
        #expect(try await isDeletable(ids[0]) == false)
        #expect(try await tenant.delete(ids[0]).status == 400)
        #expect(try await tenant.delete(ids[1]).status == 200)
        #expect(try await isDeletable(ids[0]) == true)
        #expect(try await tenant.delete(ids[0]).status == 200)
    }
}
