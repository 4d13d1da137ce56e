import Foundation
import TestSupport
import Testing

@Suite("The before-image and the restore of columns that aren't in the record", .stages)
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

    @Test("columns that are named as our statements name things disturb no operation")
    func names() async throws {
        let tables = ["customers", "invoices", "payment_links", "transactions", "liquidation_addresses", "legal_holds"]
        let stage = try await Stage.open(
            ["CUSTOMERD_RESTORE_DAYS": "30", "CUSTOMERD_RATE_LIMIT": "1000"],
            // Aliases and results of our statements, and all parameters and variables of our functions.
            prepare: #"""
                DO $$
                DECLARE
                    target text;
                    name text;
                BEGIN
                    FOR target, name IN
                        SELECT t, n
                        FROM unnest('{\#(tables.joined(separator: ","))}'::text[]) AS t, (
                            SELECT unnest('{c,h,i,p,t,a,x,r,d,record,image,receipt,deleted,found,fields}'::text[]) AS n
                            UNION
                            SELECT n
                            FROM pg_proc AS f, unnest(f.proargnames) AS n
                            WHERE f.pronamespace = 'service'::regnamespace AND n <> ''
                            UNION
                            SELECT v[1]
                            FROM pg_proc AS f, regexp_matches(f.prosrc, '\m(v_\w+)', 'g') AS v
                            WHERE f.pronamespace = 'service'::regnamespace) AS names
                    LOOP
                        EXECUTE format('ALTER TABLE %I ADD COLUMN IF NOT EXISTS %I text DEFAULT %L', target, name, 'v');
                    END LOOP;
                END $$
                """#)
        let tenant = try await stage.tenant()

        for operation in Operation.all {
            let customer = try await operation.subject(of: tenant)
            let answer = try await operation.ask(tenant, about: customer.id)
            #expect(answer.status == operation.status, "\(operation.action)")
        }
        let customer = try await tenant.insert()
        for table in tables[1...4] {
            try await tenant.insertDependent(table, of: customer.id)
            let path = "/api/v0/customers/\(customer.id)/\(table.replacing("_", with: "-"))"
            #expect(try await tenant.get(path).status == 200, "\(table)")
        }
        for path in ["", "/\(customer.id)", "/\(customer.id)/deletion-check", "/\(customer.id)/export"] {
            let answer = try await tenant.get("/api/v0/customers\(path)")
            #expect(answer.status == 200, "\(path)")
            #expect(throws: Never.self, "\(path)") { try answer.object }
        }

        // As if the text of each function had changed.
        try await stage.database.run("DELETE FROM service.applied_functions")
        try await stage.database.customerd(["migrate"])
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
