import Foundation
import TestSupport
import Testing

private func key(_ name: String, _ action: String, _ rest: String = "") -> String {
    "CONSTRAINT \(name) FOREIGN KEY (app_id, customer_id) REFERENCES customers (app_id, id) ON DELETE \(action) \(rest)"
}

/// Actions that are refused further on: how the tables are made, the rows, and what refuses.
private let refused: [(name: String, create: String, rows: String, table: String, constraint: String)] = [
    (
        "a RESTRICT behind a CASCADE",
        """
        CREATE TABLE baskets (app_id uuid, customer_id uuid, id uuid PRIMARY KEY, \(key("baskets_go", "CASCADE")));
        CREATE TABLE goods (basket_id uuid CONSTRAINT goods_stay REFERENCES baskets ON DELETE RESTRICT)
        """,
        "INSERT INTO baskets VALUES ($app, $id, $id); INSERT INTO goods VALUES ($id)", "goods", "goods_stay"
    ),
    (
        "a NO ACTION behind two CASCADEs, deferred",
        """
        CREATE TABLE a1 (app_id uuid, customer_id uuid, id uuid PRIMARY KEY, \(key("a1_go", "CASCADE")));
        CREATE TABLE a2 (id uuid PRIMARY KEY CONSTRAINT a2_go REFERENCES a1 ON DELETE CASCADE);
        CREATE TABLE a3 (id uuid CONSTRAINT a3_stay REFERENCES a2 DEFERRABLE INITIALLY DEFERRED)
        """,
        "INSERT INTO a1 VALUES ($app, $id, $id); INSERT INTO a2 VALUES ($id); INSERT INTO a3 VALUES ($id)",
        "a3", "a3_stay"
    ),
    (
        "a RESTRICT behind a partitioned table that cascades",
        """
        CREATE TABLE b1 (app_id uuid, customer_id uuid, id uuid PRIMARY KEY, \(key("b1_go", "CASCADE")))
            PARTITION BY HASH (id);
        CREATE TABLE b1_0 PARTITION OF b1 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE TABLE b2 (id uuid CONSTRAINT b2_stay REFERENCES b1 ON DELETE RESTRICT)
        """,
        "INSERT INTO b1 VALUES ($app, $id, $id); INSERT INTO b2 VALUES ($id)", "b2", "b2_stay"
    ),
    (
        "SET NULL on a column that can't be",
        "CREATE TABLE n1 (app_id uuid NOT NULL, customer_id uuid NOT NULL, \(key("n1_nulls", "SET NULL")))",
        "INSERT INTO n1 VALUES ($app, $id)", "n1", "n1_nulls"
    ),
    (
        "SET NULL on what a column that can't be null is generated from",
        """
        CREATE TABLE n3 (app_id uuid, customer_id uuid, copy uuid NOT NULL GENERATED ALWAYS AS (customer_id) STORED,
                         \(key("n3_nulls", "SET NULL")))
        """,
        "INSERT INTO n3 VALUES ($app, $id)", "n3", "n3_nulls"
    ),
    (
        "SET NULL on what a row is partitioned by, without a partition for it",
        """
        CREATE TABLE n4 (app_id uuid, customer_id uuid, \(key("n4_nulls", "SET NULL"))) PARTITION BY RANGE (customer_id);
        CREATE TABLE n4_0 PARTITION OF n4 FOR VALUES FROM (MINVALUE) TO (MAXVALUE)
        """,
        "INSERT INTO n4 VALUES ($app, $id)", "n4", "n4_nulls"
    ),
    (
        "SET NULL that a check forbids",
        """
        CREATE TABLE n2 (app_id uuid, customer_id uuid, \(key("n2_nulls", "SET NULL")),
                         CONSTRAINT n2_needs_one CHECK (customer_id IS NOT NULL))
        """,
        "INSERT INTO n2 VALUES ($app, $id)", "n2", "n2_needs_one"
    ),
    (
        "SET DEFAULT to a customer that isn't there",
        """
        CREATE TABLE d1 (app_id uuid DEFAULT gen_random_uuid(), customer_id uuid DEFAULT gen_random_uuid(),
                         \(key("d1_defaults", "SET DEFAULT")))
        """,
        "INSERT INTO d1 VALUES ($app, $id)", "d1", "d1_defaults"
    ),
    (
        "SET NULL to what others refer to",
        """
        CREATE TABLE u1 (app_id uuid, customer_id uuid UNIQUE, \(key("u1_nulls", "SET NULL")));
        CREATE TABLE u2 (customer_id uuid CONSTRAINT u2_stays REFERENCES u1 (customer_id))
        """,
        "INSERT INTO u1 VALUES ($app, $id); INSERT INTO u2 VALUES ($id)", "u2", "u2_stays"
    ),
]

private let tables =
    ([
        """
        CREATE TABLE orders (app_id uuid, customer_id uuid, id int PRIMARY KEY, \(key("orders_go", "CASCADE")));
        CREATE TABLE lines (order_id int CONSTRAINT lines_go REFERENCES orders ON DELETE CASCADE, id int PRIMARY KEY,
                            parent int CONSTRAINT lines_parent_goes REFERENCES lines ON DELETE CASCADE);
        CREATE TABLE visits (app_id uuid, customer_id uuid, \(key("visits_stay", "SET NULL", "(customer_id)")));
        CREATE TABLE strangers (id uuid PRIMARY KEY);
        CREATE TABLE logs (app_id uuid, customer_id uuid, stranger uuid CONSTRAINT logs_stranger REFERENCES strangers);
        CREATE FUNCTION log_deletion() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
            INSERT INTO public.logs VALUES (OLD.app_id, OLD.id, OLD.id); RETURN NULL; END $$;
        CREATE TRIGGER log AFTER DELETE ON customers FOR EACH ROW WHEN (OLD.first_name = 'Logged')
            EXECUTE FUNCTION log_deletion()
        """
    ] + refused.map(\.create)).joined(separator: ";\n")

/// Section 13 of docs/api.md: keys to which the database's owner gave an action, and what lies behind them.
@Suite("Keys that act, and a deletion", .unlimitedStage(prepare: tables))
struct RestrictionByActingKeysTests {
    let stage = Stage.current

    @Test("what they take along stands in the entry, key by key, however deep")
    func cascaded() async throws {
        let tenant = try await stage.tenant()
        let (customer, other) = (try await tenant.insert(), try await tenant.insert())
        try await stage.database.run(
            """
            INSERT INTO orders VALUES ('\(tenant.app)', '\(customer.id)', 1), ('\(tenant.app)', '\(customer.id)', 2),
                                      ('\(tenant.app)', '\(other.id)', 3);
            INSERT INTO lines VALUES (1, 1, NULL), (2, 2, NULL), (NULL, 3, 1), (NULL, 4, 3), (3, 5, NULL);
            UPDATE lines SET parent = 4 WHERE id = 1;
            INSERT INTO visits VALUES ('\(tenant.app)', '\(customer.id)')
            """)

        let check = try await tenant.get("/api/v0/customers/\(customer.id)/deletion-check")
        let answer = try await tenant.delete(customer.id)

        #expect(
            check.body.hasSuffix(
                #""deletable":true,"blockers":[],"cascades":[{"table":"lines","constraint":"lines_go","count":2},"#
                    + #"{"table":"lines","constraint":"lines_parent_goes","count":2},"#
                    + #"{"table":"orders","constraint":"orders_go","count":2},"#
                    + #"{"table":"visits","constraint":"visits_stay","count":1}]}"#))
        #expect(answer.status == 200)
        let entry = try #require(try await tenant.entries().last)
        #expect(
            try cascaded(entry) == [
                "lines lines_go 2 CASCADE", "lines lines_parent_goes 2 CASCADE", "orders orders_go 2 CASCADE",
                "visits visits_stay 1 SET NULL",
            ])
        #expect(entry.request("path") == "/api/v0/customers/\(customer.id)")
        #expect(try await stage.database.value("SELECT count(*) FROM lines") == "1")
        let unaffected = try await tenant.insert()
        _ = try await tenant.delete(unaffected.id)
        #expect(try await !(tenant.entries().last?["request"] ?? "").contains("cascaded"))
    }

    @Test("an action that is refused further on refuses the deletion", arguments: refused.indices)
    func refuses(index: Int) async throws {
        let (name, _, rows, table, constraint) = refused[index]
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await stage.database.run(
            rows.replacing("$app", with: "'\(tenant.app)'").replacing("$id", with: "'\(customer.id)'"))

        let check = try await tenant.get("/api/v0/customers/\(customer.id)/deletion-check").object
        let dryRun = try await tenant.bulkDelete([customer.id], dryRun: true)
        let answer = try await tenant.delete(customer.id)

        #expect(answer.body == HTTPAnswer.error(400, "Customer cannot be deleted.", "Bad Request"), "\(name)")
        #expect(check["deletable"] as? Bool == false)
        let blockers = try #require(check["blockers"] as? [[String: Any]])
        #expect(blockers.map { $0["constraint"] as? String } == [constraint])
        #expect(blockers.map { $0["table"] as? String } == [table])
        #expect(dryRun.body.contains(#""statusCode":400"#))
        let entry = try #require(try await tenant.entries().last)
        #expect(entry["outcome"] == "REFUSED")
        #expect(entry["error_code"] == "P2003")
        #expect(entry["constraint_name"] == constraint)
        #expect(entry["referencing_table"] == table)
        #expect(entry["sqlstate"]?.hasPrefix("23") == true)
        #expect(entry["error_message"]?.contains("Failing row") == false)
        #expect(try await stage.database.image(of: entry, is: customer.record(app: tenant.app)))
        #expect(try await tenant.hasCustomer(customer.id))
    }

    @Test("a violation that a trigger makes up, or a key that leads elsewhere, is a failure, not a refusal")
    func failures() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.firstName = "Logged" })

        let check = try await tenant.get("/api/v0/customers/\(customer.id)/deletion-check").object
        let answer = try await tenant.delete(customer.id)

        #expect(answer.status == 500)
        #expect(check["deletable"] as? Bool == false)
        #expect((check["blockers"] as? [Any])?.isEmpty == true)
        #expect(try await tenant.entries().map { $0["outcome"] } == ["FAILED"])
    }

    private func cascaded(_ entry: TrailEntry) throws -> [String] {
        let request = try JSONSerialization.jsonObject(with: Data((entry["request"] ?? "").utf8)) as? [String: Any]
        let items = try #require(request?["cascaded"] as? [[String: Any]])
        return items.map { item in
            ["table", "constraint", "count", "action"].map { "\(item[$0] ?? "none")" }.joined(separator: " ")
        }
    }
}
