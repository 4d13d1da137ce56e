import Foundation
import TestSupport
import Testing

@Suite("The export and the tables that others made", .stages)
struct ExportOfOtherTablesTests {
    private static let key = "FOREIGN KEY (app_id, customer_id) REFERENCES customers (app_id, id)"
    private static let tables = """
        CREATE DOMAIN price AS numeric CHECK (VALUE > 0);
        CREATE TYPE mood AS ENUM ('good', 'bad');
        CREATE SCHEMA crm;
        CREATE TABLE crm.notes (
            app_id uuid, customer_id uuid, note text, worth price, mood mood, x int, p int, r int, record int,
            PRIMARY KEY (app_id, note),
            CONSTRAINT notes_are_of_a_customer \(key));
        CREATE TABLE loose (app_id uuid, customer_id uuid, value int, CONSTRAINT loose_key \(key));
        CREATE TABLE parts (app_id uuid, customer_id uuid, value int, CONSTRAINT parts_key \(key)) PARTITION BY HASH (value);
        CREATE TABLE part_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE part_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE secured (app_id uuid, customer_id uuid, CONSTRAINT secured_key \(key));
        ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
        ALTER TABLE invoices ADD payer_id uuid;
        ALTER TABLE invoices ADD CONSTRAINT invoices_have_a_payer
            FOREIGN KEY (app_id, payer_id) REFERENCES customers (app_id, id);
        ALTER TABLE customers ADD referred_by uuid;
        ALTER TABLE customers ADD CONSTRAINT customers_are_referred
            FOREIGN KEY (app_id, referred_by) REFERENCES customers (app_id, id)
        """

    @Test("it holds their rows, or their name where the rows can't be read")
    func others() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000"], prepare: Self.tables)
        let tenant = try await stage.tenant()
        let (customer, other) = (try await tenant.insert(), try await tenant.insert())
        for id in [customer.id, other.id] {
            try await tenant.insertDependent(
                "crm.notes", of: id, ["note": "'of \"\(id)'", "worth": "1.50", "mood": "'bad'"])
            try await tenant.insertDependent("secured", of: id)
        }
        // More than a page of each.
        try await stage.database.run(
            """
            INSERT INTO loose SELECT '\(tenant.app)', '\(customer.id)', n FROM generate_series(1, 12000) AS n;
            INSERT INTO parts SELECT '\(tenant.app)', '\(customer.id)', n FROM generate_series(1, 12000) AS n;
            INSERT INTO invoices (app_id, customer_id, payer_id) VALUES ('\(tenant.app)', '\(other.id)', '\(customer.id)');
            UPDATE customers SET referred_by = '\(customer.id)' WHERE id = '\(other.id)';
            """)

        let answer = try await tenant.get("/api/v0/customers/\(customer.id)/export")

        #expect(answer.status == 200)
        let others = try #require(try answer.object["other"] as? [[String: Any]])
        #expect(
            others.map { $0["constraint"] as? String } == [
                "invoices_have_a_payer", "loose_key", "parts_key", "secured_key",
                "notes_are_of_a_customer",
            ])
        #expect(others.last?["table"] as? String == "crm.notes")
        let rows = Dictionary(
            uniqueKeysWithValues: others.map { ($0["table"] as? String ?? "", $0["rows"] as? [[String: Any]] ?? []) })
        #expect(others.first { $0["table"] as? String == "secured" }?["rows"] is NSNull)
        for table in ["loose", "parts"] {
            let values = rows[table]?.compactMap { $0["value"] as? Int } ?? []
            #expect(values.sorted() == Array(1...12_000), "\(table)")
        }
        #expect(rows["invoices"]?.map { $0["customer_id"] as? String } == [other.id])
        #expect(answer.body.contains(#""note":"of \"\#(customer.id)","worth":1.50,"mood":"bad","x":null"#))
        #expect(!answer.body.contains(#"of \"\#(other.id)"#))
    }

    @Test("no code of a table's owner runs with the owner's rights")
    func hijack() async throws {
        let stage = try await Stage.open(
            prepare: """
                CREATE TYPE trap AS (a int);
                CREATE FUNCTION spring(trap) RETURNS json LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
                CREATE CAST (trap AS json) WITH FUNCTION spring(trap);
                CREATE TABLE trapped (app_id uuid, customer_id uuid, trap trap, CONSTRAINT trapped_key \(Self.key))
                """)
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("trapped", of: customer.id, ["trap": "ROW(1)"])

        let answer = try await tenant.get("/api/v0/customers/\(customer.id)/export")

        #expect(answer.status == 200)
        #expect(answer.body.contains(#""trap":"(1)""#))
    }

    /// What the planner calls while it plans a query on a table, by where that stands.
    private static let planned = [
        "the predicate of an index": "CREATE INDEX ON %.t (app_id, customer_id) WHERE %.spring(1)",
        "the expression of an index": "CREATE INDEX ON %.t ((%.spring(1)), app_id, customer_id)",
        "a check": "ALTER TABLE %.t ADD CHECK (%.spring(1))",
        "a check by an operator": "CREATE OPERATOR %.=! (RIGHTARG = int, FUNCTION = %.spring);"
            + "ALTER TABLE %.t ADD CHECK (OPERATOR(%.=!) 1)",
        "statistics": "CREATE STATISTICS %.s ON (%.spring(1)), (%.spring(x)) FROM %.t; ANALYZE %.t",
        "a partition":
            "DROP TABLE %.t; CREATE TABLE %.t (app_id uuid, customer_id uuid, x int, CONSTRAINT t_key \(key))"
            + "PARTITION BY LIST (x); CREATE TABLE %.p PARTITION OF %.t DEFAULT;"
            + "CREATE INDEX ON %.p (app_id, customer_id) WHERE %.spring(1)",
    ]

    @Test(
        "no function of a stranger runs while the query on the stranger's table is planned",
        arguments: planned.keys.sorted())
    func planning(place: String) async throws {
        let stage = try await Stage.open()
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let stranger = "stranger_\(newID().prefix(8))"
        let made = Self.planned[place, default: ""].replacing("%", with: stranger)
        try await stage.database.run(
            """
            CREATE ROLE \(stranger);
            CREATE SCHEMA \(stranger) AUTHORIZATION \(stranger);
            GRANT USAGE ON SCHEMA public, \(stranger) TO PUBLIC;
            GRANT REFERENCES ON public.customers TO \(stranger);
            SET ROLE \(stranger);
            CREATE FUNCTION \(stranger).spring(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
                $$ BEGIN IF current_user <> '\(stranger)' THEN RAISE EXCEPTION 'ran as %', current_user; END IF; RETURN true; END $$;
            CREATE TABLE \(stranger).t (app_id uuid, customer_id uuid, x int, CONSTRAINT t_key \(Self.key));
            \(made);
            INSERT INTO \(stranger).t VALUES ('\(tenant.app)', '\(customer.id)', 1);
            GRANT SELECT ON ALL TABLES IN SCHEMA \(stranger) TO PUBLIC;
            RESET ROLE
            """)

        let check = try await tenant.get("/api/v0/customers/\(customer.id)/deletion-check")
        let export = try await tenant.get("/api/v0/customers/\(customer.id)/export")
        let deletion = try await tenant.delete(customer.id)
        try await stage.database.run("DROP OWNED BY \(stranger) CASCADE; DROP ROLE \(stranger)")

        #expect(check.status == 200)
        #expect(check.body.contains(#""blockers":[{"table":"\#(stranger).t","constraint":"t_key","count":null}]"#))
        let others = try #require(try export.object["other"] as? [[String: Any]])
        #expect(others.first { $0["table"] as? String == "\(stranger).t" }?["rows"] is NSNull)
        #expect(deletion.status == 400)
    }
}
