import TestSupport
import Testing

@Suite("Deleting in bulk", .unlimitedStage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct BulkTests {
    let stage = Stage.current

    @Test("answers in the order asked, each with its own result, to the byte")
    func mixed() async throws {
        let tenant = try await stage.tenant()
        let other = try await stage.tenant()
        let cast = try await Cast(tenant)
        let theirs = try await other.insert()
        let ids = [cast.unknown, cast.free.id, theirs.id, cast.bound.id, cast.alsoFree.id]

        let answer = try await tenant.bulkDelete(ids)

        let app = tenant.app
        #expect(answer.status == 200)
        #expect(
            answer.body == """
                {"results":[\
                {"id":"\(cast.unknown)","statusCode":404,"message":"Customer not found"},\
                {"id":"\(cast.free.id)","statusCode":200,"customer":\(cast.free.record(app: app))},\
                {"id":"\(theirs.id)","statusCode":404,"message":"Customer not found"},\
                {"id":"\(cast.bound.id)","statusCode":400,"message":"Customer cannot be deleted."},\
                {"id":"\(cast.alsoFree.id)","statusCode":200,"customer":\(cast.alsoFree.record(app: app))}]}
                """)
        #expect(try await tenant.customerCount() == "1")
        #expect(try await other.customerCount() == "1")
    }

    @Test("leaves one entry an item, with its image, and one for the whole")
    func entries() async throws {
        let tenant = try await stage.tenant()
        let cast = try await Cast(tenant)
        let key = newID()

        let answer = try await tenant.bulkDelete(cast.ids, key: key, reason: "cleaning up")

        let entries = try await tenant.entries()
        #expect(
            entries.map { $0["action"] } == Array(repeating: "customer.delete", count: 4) + ["customer.bulk-delete"])
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "REFUSED", "NOT_FOUND", "SUCCEEDED", "SUCCEEDED"])
        #expect(entries.map { $0["status_code"] } == ["200", "400", "404", "200", "200"])
        #expect(entries.map { $0["customer_id"] } == cast.ids + [nil])
        #expect(entries.allSatisfy { $0["request_id"] == answer["x-request-id"] })
        #expect(entries.allSatisfy { $0["actor_client_key"] == tenant.key.clientKey })
        // The whole is about no customer, so no redaction would reach its reason.
        #expect(entries.map { $0["reason"] } == Array(repeating: "cleaning up", count: 4) + [nil])
        #expect(entries.allSatisfy { $0["idempotency_key"] == key })
        #expect(entries[1]["error_code"] == "P2003")
        #expect(entries[1]["constraint_name"] == "invoices_belong_to_a_customer")
        #expect(entries[1]["referencing_table"] == "invoices")
        #expect(try await stage.database.image(of: entries[0], is: cast.free.record(app: tenant.app)))
        #expect(try await stage.database.image(of: entries[1], is: cast.bound.record(app: tenant.app)))
    }

    @Test("a dry run changes nothing, and says what deleting then does")
    func dryRun() async throws {
        let tenant = try await stage.tenant()
        let cast = try await Cast(tenant)

        let dry = try await tenant.bulkDelete(cast.ids, dryRun: true)
        let count = try await tenant.customerCount()
        let outcomes = try await tenant.entries().map { [$0["action"], $0["outcome"]] }
        let real = try await tenant.bulkDelete(cast.ids, dryRun: false)

        #expect(dry.status == 200)
        #expect(count == "3")
        #expect(outcomes == [["customer.bulk-delete", "SUCCEEDED"]])
        #expect(real.body == dry.body)
        #expect(try await tenant.customerCount() == "1")
    }

    @Test("is replayed as a whole, to the byte")
    func replay() async throws {
        let tenant = try await stage.tenant()
        let cast = try await Cast(tenant)
        let key = newID()

        let first = try await tenant.bulkDelete(cast.ids, key: key)
        try await stage.database.run("DELETE FROM invoices WHERE customer_id = '\(cast.bound.id)'")
        let replay = try await tenant.bulkDelete(cast.ids, key: key)
        let otherOrder = try await tenant.bulkDelete(cast.ids.reversed(), key: key)
        let dry = try await tenant.bulkDelete(cast.ids, dryRun: true, key: key)

        #expect(replay.status == 200)
        #expect(replay.body == first.body)
        #expect([first, replay].map { $0["idempotent-replayed"] } == [nil, "true"])
        #expect([otherOrder, dry].map(\.status) == [422, 422])
        #expect(try await tenant.hasCustomer(cast.bound.id))
        let entries = try await tenant.entries().suffix(3)
        #expect(entries.map { $0["outcome"] } == ["REPLAYED", "CONFLICT", "CONFLICT"])
        #expect(entries.allSatisfy { $0["action"] == "customer.bulk-delete" })
    }

    @Test("two with one key at one time delete once")
    func simultaneous() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 20)
        let key = newID()

        async let first = tenant.bulkDelete(customers, key: key)
        async let second = tenant.bulkDelete(customers, key: key)
        let answers = try await [first, second]

        #expect(answers.contains { $0.status == 200 })
        #expect(Set(answers.map(\.status)).isSubset(of: [200, 409]))
        let entries = try await tenant.entries().filter { $0["action"] == "customer.delete" }
        #expect(entries.map { $0["outcome"] } == Array(repeating: "SUCCEEDED", count: 20))
    }

    @Test("two that overlap delete each customer once")
    func overlapping() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 20)

        async let first = tenant.bulkDelete(customers)
        async let second = tenant.bulkDelete(customers.reversed())
        let results = try await [BulkResults(first), BulkResults(second)].flatMap(\.results)

        for customer in customers {
            let statuses = results.filter { $0.id == customer }.map(\.statusCode)
            #expect(statuses.sorted() == [200, 404])
        }
    }

    @Test("a hundred is as many as there may be")
    func hundred() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 100)

        let tooMany = try await tenant.bulkDelete(customers + [newID()])
        let enough = try await tenant.bulkDelete(customers)

        #expect(tooMany.status == 400)
        #expect(tooMany.body.contains("ids"))
        #expect(enough.status == 200)
        let results = try BulkResults(enough)
        #expect(results.ids == customers)
        #expect(Set(results.statuses) == [200])
        #expect(results.results.allSatisfy { $0.customer?.id == $0.id })
        #expect(try await tenant.customerCount() == "0")
    }

    @Test("answers ids in lower case, whatever they came in")
    func upperCase() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.bulkDelete([customer.id.uppercased()])

        #expect(try BulkResults(answer).ids == [customer.id])
        #expect(try BulkResults(answer).statuses == [200])
    }

    static let one = "11111111-1111-4111-8111-11111111111a"

    @Test(
        "refuses what it can't take, and deletes nothing",
        arguments: [
            (#"{"ids":[]}"#, "ids"), (#"{}"#, "ids"), (#"{"ids":null}"#, "ids"), (#"{"ids":"\#(one)"}"#, "ids"),
            (#"{"ids":["no-uuid"]}"#, "ids"), (#"{"ids":[1]}"#, "ids"), (#"{"ids":[null]}"#, "ids"),
            (#"{"ids":["\#(one)","\#(one)"]}"#, "ids"), (#"{"ids":["\#(one)","\#(one.uppercased())"]}"#, "ids"),
            (#"{"ids":["\#(one)"],"dry_run":"true"}"#, "dry_run"), (#"{"ids":["\#(one)"],"dry_run":1}"#, "dry_run"),
            (#"{"ids":["\#(one)"],"dry_run":null}"#, "dry_run"), (#"{"ids":["\#(one)"],"dryrun":true}"#, "dryrun"),
            (#"["\#(one)"]"#, "object"), ("", "object"),
        ])
    func invalid(body: String, named: String) async throws {
        let tenant = try await stage.tenant()
        try await tenant.insert(CustomerFixture { $0.id = Self.one })

        let answer = try await tenant.ask("POST", "/bulk-delete", body, key: newID())

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains(named))
        #expect(try await tenant.customerCount() == "1")
        #expect(try await tenant.outcomes() == ["INVALID"])
    }

    @Test(
        "needs a key for the whole",
        arguments: [
            (nil, "idempotency-key header is required"), ("no-uuid", "idempotency-key must be a UUID"),
        ])
    func keyRequired(key: String?, message: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        for dryRun in [true, false] {
            let answer = try await tenant.bulkDelete([customer.id], dryRun: dryRun, key: key)
            #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
        }
        #expect(try await tenant.customerCount() == "1")
    }

    @Test("what one item fails of doesn't stop the others")
    func unforeseen() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 3)
        let table = "spoiler_\(customers[1].replacing("-", with: ""))"
        try await stage.database.run(
            """
            CREATE FUNCTION public.\(table)() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF OLD.id = '\(customers[1])' THEN RAISE EXCEPTION 'not this one'; END IF;
                RETURN OLD;
            END $$;
            GRANT EXECUTE ON FUNCTION public.\(table)() TO PUBLIC;
            CREATE TRIGGER \(table) BEFORE DELETE ON customers FOR EACH ROW EXECUTE FUNCTION public.\(table)();
            """)

        let answer = try await tenant.bulkDelete(customers)

        #expect(answer.status == 200)
        #expect(try BulkResults(answer).statuses == [200, 500, 200])
        #expect(!answer.body.contains("not this one"))
        #expect(try await tenant.outcomes() == ["SUCCEEDED", "FAILED", "SUCCEEDED", "SUCCEEDED"])
    }
}

/// Customers whose deletions end differently.
private struct Cast {
    let free = CustomerFixture { $0.lastSpent = "9999999999999999.99" }
    let bound = CustomerFixture()
    let unknown = newID()
    let alsoFree = CustomerFixture { $0.firstName = "Zoë \"\\" }

    init(_ tenant: Tenant) async throws {
        for customer in [free, bound, alsoFree] { try await tenant.insert(customer) }
        try await tenant.insertDependent("invoices", of: bound.id)
    }

    var ids: [String] { [free.id, bound.id, unknown, alsoFree.id] }
}
