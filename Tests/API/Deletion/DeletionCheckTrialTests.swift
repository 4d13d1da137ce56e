import Foundation
import TestSupport
import Testing

private let triggers = """
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TRIGGER keep BEFORE DELETE ON customers FOR EACH ROW WHEN (OLD.first_name = 'Kept')
        EXECUTE FUNCTION keep();
    CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
    CREATE CONSTRAINT TRIGGER object AFTER DELETE ON customers DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (OLD.first_name = 'Objected') EXECUTE FUNCTION object();
    CREATE FUNCTION mimic() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'tried' USING ERRCODE = 'CD005'; END $$;
    CREATE TRIGGER mimic AFTER DELETE ON customers FOR EACH ROW WHEN (OLD.first_name = 'Mimicked')
        EXECUTE FUNCTION mimic();
    CREATE FUNCTION postpone() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'try again' USING ERRCODE = 'serialization_failure'; END $$;
    CREATE TRIGGER postpone AFTER DELETE ON customers FOR EACH ROW WHEN (OLD.first_name = 'Postponed')
        EXECUTE FUNCTION postpone()
    """

/// What the catalog doesn't say, the deletion-check finds out by trying.
@Suite("The deletion-check tries the deletion", .unlimitedStage(prepare: triggers))
struct DeletionCheckTrialTests {
    let stage = Stage.current

    @Test(
        "a trigger that keeps the row, and a deferred one that objects, are found; the deletion fails",
        arguments: ["Kept", "Objected", "Mimicked"])
    func triggered(name: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.firstName = name })

        let found = try await check(customer.id, tenant)
        let answer = try await tenant.delete(customer.id)

        #expect(found["deletable"] as? Bool == false)
        #expect((found["blockers"] as? [Any])?.isEmpty == true)
        #expect(answer.status == 500)
        #expect(try await tenant.outcomes() == ["FAILED"])
    }

    @Test("a trigger that always wants another try is found, too; the deletion is never done")
    func postponed() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.firstName = "Postponed" })

        #expect(try await check(customer.id, tenant)["deletable"] as? Bool == false)
        #expect(try await tenant.delete(customer.id).status == 503)
    }

    @Test("while another transaction holds the customer, counting has to do, and doesn't wait")
    func locked() async throws {
        let tenant = try await stage.tenant()
        let (free, bound) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: bound.id)
        let holder = try await stage.database.begin("SELECT FROM customers WHERE app_id = '\(tenant.app)' FOR UPDATE")

        let verdicts = [try await check(free.id, tenant), try await check(bound.id, tenant)]
        try await holder.rollBack()

        #expect(verdicts.map { $0["deletable"] as? Bool } == [true, false])
        let blockers = try #require(verdicts[1]["blockers"] as? [[String: Any]])
        #expect(blockers.map { $0["count"] as? Int } == [1])
    }

    @Test("it leaves nothing: no entry, no attempt, no change")
    func leavesNothing() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        func state() async throws -> [[String: String]] {
            try await stage.database.rows(
                """
                SELECT c::text AS customer, c.ctid::text AS place, (SELECT count(*) FROM service.attempts AS a
                                             WHERE a.app_id = c.app_id)::text AS attempts
                FROM customers AS c WHERE c.id = '\(customer.id)'
                """)
        }
        let before = try await state()

        _ = try await check(customer.id, tenant)

        #expect(try await state() == before)
        #expect(try await tenant.entries().isEmpty)
        #expect(try await tenant.delete(customer.id).status == 200)
    }

    @Test("a rule that kept customers is forgotten once it is dropped")
    func rule() async throws {
        let stage = try await Stage.open()
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        func verdicts() async throws -> Set<Bool?> {
            var found: Set<Bool?> = []
            // Enough for each session to be asked.
            for _ in 1...12 { found.insert(try await check(customer.id, tenant)["deletable"] as? Bool) }
            return found
        }
        try await stage.database.run("CREATE RULE keep AS ON DELETE TO customers DO INSTEAD NOTHING")
        #expect(try await verdicts() == [false])

        try await stage.database.run("DROP RULE keep ON customers")

        #expect(try await verdicts() == [true])
        #expect(try await tenant.delete(customer.id).status == 200)
    }

    @Test("many at one time agree, and none deadlocks with deletions and changes")
    func simultaneous() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 8)

        try await withThrowingTaskGroup(of: Void.self) { group in
            for customer in customers {
                for _ in 1...4 {
                    group.addTask { _ = try await tenant.get("/api/v0/customers/\(customer)/deletion-check") }
                    group.addTask { _ = try await tenant.patch(customer, #"{"last_name":"New"}"#) }
                }
                group.addTask {
                    let answer = try await tenant.delete(customer)
                    #expect(answer.status == 200)
                }
            }
            try await group.waitForAll()
        }
        #expect(try await tenant.customerCount() == "0")
    }
}

/// Tables whose rows the owner of the schema can't see.
@Suite("The deletion-check and tables that can't be read", .stages)
struct DeletionCheckOfClosedTablesTests {
    private static let key = "FOREIGN KEY (app_id, customer_id) REFERENCES customers (app_id, id)"

    @Test("are named without a count", arguments: [true, false])
    func unreadable(isSecured: Bool) async throws {
        let close =
            isSecured ? "ALTER TABLE closed ENABLE ROW LEVEL SECURITY" : "REVOKE pg_read_all_data FROM customerd_owner"
        let stage = try await Stage.open(
            in: isSecured ? .shared : .ownCluster(),
            prepare: """
                CREATE TABLE closed (app_id uuid, customer_id uuid, CONSTRAINT closed_key \(Self.key));
                CREATE TABLE taken (app_id uuid, customer_id uuid, CONSTRAINT taken_key \(Self.key) ON DELETE CASCADE);
                ALTER TABLE taken ENABLE ROW LEVEL SECURITY;
                \(close)
                """)
        let tenant = try await stage.tenant()
        let (free, bound) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("closed", of: bound.id)

        let (ofFree, ofBound) = (try await check(free.id, tenant), try await check(bound.id, tenant))
        let dryRun = try await tenant.bulkDelete([free.id, bound.id], dryRun: true)
        let export = try await tenant.get("/api/v0/customers/\(bound.id)/export")
        let answers = [try await tenant.delete(free.id).status, try await tenant.delete(bound.id).status]

        #expect(answers == [200, 400])
        #expect(ofFree["deletable"] as? Bool == true)
        #expect((ofFree["blockers"] as? [Any])?.isEmpty == true)
        #expect(ofBound["deletable"] as? Bool == false)
        let blockers = try #require(ofBound["blockers"] as? [[String: Any]])
        #expect(blockers.map { $0["table"] as? String } == ["closed"])
        #expect(blockers.first?["count"] is NSNull)
        #expect((ofBound["cascades"] as? [[String: Any]])?.map { $0["table"] as? String } == ["taken"])
        #expect(dryRun.body.contains(#""statusCode":200"#) && dryRun.body.contains(#""statusCode":400"#))
        #expect(
            export.body.hasSuffix(
                #""other":[{"table":"closed","constraint":"closed_key","rows":null},"#
                    + #"{"table":"taken","constraint":"taken_key","rows":null}]}"#))
        let entry = try #require(try await tenant.entries(about: free.id).last)
        #expect(entry["request"]?.contains(#""count": null"#) == true, "it may have taken some along")
    }
}

private func check(_ customer: String, _ tenant: Tenant) async throws -> [String: Any] {
    let answer = try await tenant.get("/api/v0/customers/\(customer)/deletion-check")
    #expect(answer.status == 200, "\(answer)")
    return try answer.object
}
