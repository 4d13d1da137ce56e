import Foundation
import TestSupport
import Testing

@Suite(
    "The before-image and the restore of columns that aren't in the record", .stages,
    .singleNode("Citus adds no identity column to a distributed table"))
struct RestorationOfColumnsTests {
    private static let columns = """
        ALTER TABLE customers ADD loyalty int DEFAULT 7;
        ALTER TABLE customers ADD "odd ""Name" jsonb;
        ALTER TABLE customers ADD balance numeric(30, 10);
        ALTER TABLE customers ADD seen timestamptz[];
        ALTER TABLE customers ADD shouted text GENERATED ALWAYS AS (upper(first_name)) STORED;
        ALTER TABLE customers ADD number bigint GENERATED ALWAYS AS IDENTITY;
        ALTER TABLE customers ADD dropped int;
        ALTER TABLE customers DROP dropped
        """

    @Test("all of them are kept and come back, archived_at too; generated ones are made again")
    func restored() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RESTORE_DAYS": "30"], prepare: Self.columns)
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await stage.database.run(
            #"""
            UPDATE customers
            SET loyalty = 42, "odd ""Name" = '{"a": [1.10, null]}', balance = 12345678901234567890.0123456789,
                seen = '{"2024-01-01 00:00:00.000001+00",NULL}'
            """#)
        _ = try await tenant.post("archive", customer.id)
        let before = try await row(customer.id, stage)

        _ = try await tenant.delete(customer.id)
        let answer = try await tenant.post("restore", customer.id)

        #expect(answer.status == 200)
        #expect(before["archived_at"] != nil)
        #expect(before["shouted"] == "JOHN")
        var after = try await row(customer.id, stage)
        after["updated_at"] = before["updated_at"]
        #expect(after == before)
        let entry = try #require(try await tenant.entries().first { $0["action"] == "customer.delete" })
        let image = try JSONSerialization.jsonObject(with: Data((entry["before_image"] ?? "").utf8)) as? [String: Any]
        let kept = try #require(image?["columns"] as? [String: Any])
        #expect(Set(kept.keys) == ["loyalty", "odd \"Name", "balance", "seen", "number", "archived_at"])
        #expect(!answer.body.contains("columns"), "the record has them not")
    }

    @Test("a customer with none of them has no such member")
    func none() async throws {
        let stage = try await Stage.open(prepare: "ALTER TABLE customers ADD loyalty int")
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        _ = try await tenant.delete(customer.id)

        let entry = try #require(try await tenant.entries().first)
        #expect(try await stage.database.image(of: entry, is: customer.record(app: tenant.app)))
    }

    private func row(_ customer: String, _ stage: Stage) async throws -> [String: String] {
        try #require(try await stage.database.rows("SELECT * FROM customers WHERE id = '\(customer)'").first)
    }
}
