import TestSupport
import Testing

/// Section 4: whatever refers to a customer keeps it.
@Suite("What refers to a customer", .stage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct RestrictionTests {
    let stage = Stage.current

    static let dependents: [(table: String, values: [String: String])] = [
        ("invoices", ["status": "'draft'"]),
        ("invoices", ["status": "'pending'"]),
        ("invoices", ["status": "'paid'"]),
        ("payment_links", [:]),
        ("transactions", [:]),
        ("liquidation_addresses", [:]),
    ]

    @Test("each dependent table refuses", arguments: dependents.indices)
    func refuses(index: Int) async throws {
        let (table, values) = Self.dependents[index]
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent(table, of: customer.id, values)

        try await expectRefusal(of: customer, tenant, table: table, constraint: "\(table)_belong_to_a_customer")
    }

    /// Unexpected tables: how each is created, and its name in the trail.
    static let later: [(name: String, create: String, table: String)] = [
        ("plain", "CREATE TABLE later_plain (\(columns), \(reference))", "later_plain"),
        (
            "in another schema, with a name that needs quotes",
            #"""
            CREATE SCHEMA "Other ""Schema";
            CREATE TABLE "Other ""Schema"."an odd 'Täble'" (\#(columns), \#(reference))
            """#,
            #""Other ""Schema"."an odd 'Täble'""#
        ),
        (
            "restricting",
            "CREATE TABLE later_restrict (\(columns), \(reference) ON DELETE RESTRICT)", "later_restrict"
        ),
        (
            "initially deferred",
            "CREATE TABLE later_deferred (\(columns), \(reference) DEFERRABLE INITIALLY DEFERRED)", "later_deferred"
        ),
        (
            "initially deferred, in another schema",
            "CREATE SCHEMA later; CREATE TABLE later.deferred (\(columns), \(reference) DEFERRABLE INITIALLY DEFERRED)",
            "later.deferred"
        ),
        (
            "partitioned",
            """
            CREATE TABLE later_partitioned (\(columns), \(reference)) PARTITION BY HASH (app_id);
            CREATE TABLE later_partition_0 PARTITION OF later_partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE later_partition_1 PARTITION OF later_partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 1)
            """,
            "later_partitioned"
        ),
        (
            "partitioned and deferred",
            """
            CREATE TABLE later_both (\(columns), \(reference) DEFERRABLE INITIALLY DEFERRED) PARTITION BY LIST (app_id);
            CREATE TABLE later_both_all PARTITION OF later_both DEFAULT
            """,
            "later_both"
        ),
        (
            "a key on a partition alone",
            """
            CREATE TABLE later_parent (\(columns)) PARTITION BY HASH (app_id);
            CREATE TABLE later_child PARTITION OF later_parent FOR VALUES WITH (MODULUS 1, REMAINDER 0);
            ALTER TABLE later_child ADD \(reference)
            """,
            "later_parent"
        ),
        (
            "not validated",
            "CREATE TABLE later_unvalidated (\(columns)); ALTER TABLE later_unvalidated ADD \(reference) NOT VALID",
            "later_unvalidated"
        ),
    ]

    private static let columns = "app_id uuid NOT NULL, customer_id uuid NOT NULL"
    private static let reference = "FOREIGN KEY (app_id, customer_id) REFERENCES public.customers (app_id, id)"

    @Test(
        "a table made later refuses without a change of code",
        .singleNode("the other tables would have to be distributed, too"), arguments: later.indices)
    func refusesLater(index: Int) async throws {
        let (name, create, table) = Self.later[index]
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await stage.database.alter(create)
        try await tenant.insertDependent(table, of: customer.id)
        let key = newID()

        let refused = try await tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.run("DELETE FROM \(table)")
        let replayed = try await tenant.delete(customer.id, idempotencyKey: key)
        let deleted = try await tenant.delete(customer.id)

        #expect(refused.status == 400, "\(name)")
        #expect(refused.body == HTTPAnswer.error(400, "Customer cannot be deleted.", "Bad Request"))
        #expect(refused["link"] == #"</api/v0/customers/\#(customer.id)/deletion-check>; rel="help""#)
        #expect(replayed.body == refused.body)
        #expect(replayed["idempotent-replayed"] == "true")
        #expect(deleted.status == 200)
        let entries = try await tenant.entries()
        try #require(entries.map { $0["outcome"] } == ["REFUSED", "REPLAYED", "SUCCEEDED"])
        #expect(entries[0]["error_code"] == "P2003")
        #expect(["23503", "23001"].contains(entries[0]["sqlstate"]))
        #expect(entries[0]["constraint_name"]?.isEmpty == false)
        #expect(entries[0]["referencing_table"]?.isEmpty == false)
        #expect(try await stage.database.image(of: entries[0], is: customer.record(app: tenant.app)))
    }

    @Test("an invoice that is inserted while the deletion waits refuses it")
    func insertWins() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let insertion = try await stage.database.begin(
            "INSERT INTO invoices (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer.id)')")

        async let deletion = tenant.delete(customer.id)
        try await stage.database.waitUntilBlocked()
        try await insertion.commit()

        #expect(try await deletion.status == 400)
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().map { $0["outcome"] } == ["REFUSED"])
    }

    @Test("an invoice that is rolled back while the deletion waits doesn't refuse it")
    func insertGivesUp() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let insertion = try await stage.database.begin(
            "INSERT INTO invoices (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer.id)')")

        async let deletion = tenant.delete(customer.id)
        try await stage.database.waitUntilBlocked()
        try await insertion.rollBack()

        #expect(try await deletion.status == 200)
        #expect(try await tenant.entries().map { $0["outcome"] } == ["SUCCEEDED"])
    }

    @Test("a deletion that races with an invoice: never both")
    func race() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 40)

        let answers = try await withThrowingTaskGroup(of: (String, Int, Bool).self) { group in
            for customer in customers {
                group.addTask {
                    async let insertion = stage.database.sqlstate(
                        "INSERT INTO invoices (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer)')",
                        as: "postgres"
                    )
                    let answer = try await tenant.delete(customer)
                    return (customer, answer.status, try await insertion == nil)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }

        for (customer, status, wasInserted) in answers {
            #expect(status == (wasInserted ? 400 : 200))
            #expect(try await tenant.hasCustomer(customer) == wasInserted)
        }
        #expect(try await tenant.entries().count == 40)
    }

    private func expectRefusal(
        of customer: CustomerFixture, _ tenant: Tenant, table: String, constraint: String
    ) async throws {
        let answer = try await tenant.delete(customer.id)

        #expect(answer.status == 400)
        #expect(answer.body == HTTPAnswer.error(400, "Customer cannot be deleted.", "Bad Request"))
        #expect(try await tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.map { $0["outcome"] } == ["REFUSED"])
        #expect(entries[0]["error_code"] == "P2003")
        #expect(entries[0]["constraint_name"] == constraint)
        #expect(entries[0]["referencing_table"] == table)
        #expect(try await stage.database.image(of: entries[0], is: customer.record(app: tenant.app)))
    }
}

/// What the service's role may lack.
@Suite("A privilege that is missing", .stage())
struct PrivilegeTests {
    @Test("a deletion that isn't permitted in the database is a 500, and can be tried again")
    func missingPrivilege() async throws {
        let stage = Stage.current
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        try await stage.database.run("REVOKE DELETE ON customers FROM customerd_service")
        let failed = try await tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.run("GRANT DELETE ON customers TO customerd_service")
        let retried = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(failed.status == 500)
        #expect(failed.body == HTTPAnswer.error(500, "Internal server error", "Internal Server Error"))
        #expect(retried.status == 200)
        let entries = try await tenant.entries()
        try #require(entries.map { $0["outcome"] } == ["FAILED", "SUCCEEDED"])
        #expect(entries[0]["sqlstate"] == "42501")
    }
}
