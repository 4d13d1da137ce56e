import TestSupport
import Testing

/// The rows of the contract's table, section 1: status, bytes, headers, and the entry of section 3.
@Suite("Deleting a customer", .stage())
struct DeletionTests {
    let stage = Stage.current

    @Test("a customer is gone, and the answer is the record as it was")
    func deleted() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(answer["content-type"] == "application/json")
        #expect(answer["idempotent-replayed"] == nil)
        #expect(try await !tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        let expected = try await tenant.expectation(
            "SUCCEEDED", 200, customer: customer.id, idempotencyKey: key, answer: answer)
        #expect(entries[0].mismatches(with: expected) == [])
        #expect(try await tenant.database.image(of: entries[0], is: answer.body))
    }

    @Test("a customer that doesn't exist is a 404")
    func notFound() async throws {
        let tenant = try await stage.tenant()
        let (customer, key) = (newID(), newID())

        let answer = try await tenant.delete(customer, idempotencyKey: key)

        #expect(answer.status == 404)
        #expect(answer.body == #"{"statusCode":404,"message":"Customer not found","error":"Not Found"}"#)
        #expect(answer["content-type"] == "application/json")
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        let expected = try await tenant.expectation(
            "NOT_FOUND", 404, customer: customer, idempotencyKey: key, answer: answer)
        #expect(entries[0].mismatches(with: expected) == [])
        #expect(entries[0]["before_image"] == nil)
    }

    @Test("another app's customer looks the same as none, and stays")
    func foreign() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        let customer = try await other.insert()

        let answer = try await tenant.delete(customer.id)

        #expect(answer.status == 404)
        #expect(answer.body == #"{"statusCode":404,"message":"Customer not found","error":"Not Found"}"#)
        #expect(try await other.hasCustomer(customer.id))
        #expect(try await other.entries().isEmpty)
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(entries[0]["outcome"] == "NOT_FOUND")
        #expect(entries[0]["before_image"] == nil, "nothing of the other app is told")
    }

    @Test("the same id in two apps is two customers")
    func sameID() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        let customer = try await tenant.insert()
        try await other.insert(customer)

        let answer = try await tenant.delete(customer.id)

        #expect(answer.status == 200)
        #expect(try await !tenant.hasCustomer(customer.id))
        #expect(try await other.hasCustomer(customer.id))
    }

    @Test("a customer with an invoice is refused, and the refusal leaves its entry after the rollback")
    func refused() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: customer.id)
        let key = newID()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answer.status == 400)
        #expect(answer.body == #"{"statusCode":400,"message":"Customer cannot be deleted.","error":"Bad Request"}"#)
        #expect(answer["content-type"] == "application/json")
        #expect(answer["link"] == #"</api/v0/customers/\#(customer.id)/deletion-check>; rel="help""#)
        #expect(try await tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        var expected = try await tenant.expectation(
            "REFUSED", 400, customer: customer.id, idempotencyKey: key, answer: answer)
        expected["error_code"] = "P2003"
        expected["sqlstate"] = entries[0]["sqlstate"] == "23001" ? "23001" : "23503"
        expected["constraint_name"] = "invoices_belong_to_a_customer"
        expected["referencing_table"] = "invoices"
        #expect(entries[0].mismatches(with: expected) == [])
        #expect(try await tenant.database.image(of: entries[0], is: customer.record(app: tenant.app)))
    }

    @Test(
        "an id that is no UUID is a 400",
        arguments: [
            "42", "john", "550e8400-e29b-41d4-a716-44665544000", "550e8400-e29b-41d4-a716-4466554400000",
            "550e8400e29b41d4a716446655440000", "{550e8400-e29b-41d4-a716-446655440000}",
            "550e8400-e29b-41d4-a716-44665544000g", "app_550e8400-e29b-41d4-a716-446655440000", "%00", "%F0%9F%98%80",
            "550e8400_e29b_41d4_a716_446655440000", "-50e8400-e29b-41d4-a716-446655440000", "null",
        ])
    func noUUID(id: String) async throws {
        let tenant = try await stage.tenant()
        let key = newID()

        let answer = try await tenant.delete(id, idempotencyKey: key)

        #expect(answer.status == 400)
        #expect(
            answer.body == #"{"statusCode":400,"message":"Validation failed (uuid is expected)","error":"Bad Request"}"#
        )
        #expect(answer["content-type"] == "application/json")
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        let expected = try await tenant.expectation("INVALID", 400, customer: nil, idempotencyKey: key, answer: answer)
        #expect(entries[0].mismatches(with: expected) == [])
    }

    @Test("a missing idempotency-key is a 400")
    func keyMissing() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.delete(customer.id, idempotencyKey: nil)

        #expect(answer.status == 400)
        #expect(
            answer.body == #"{"statusCode":400,"message":"idempotency-key header is required","error":"Bad Request"}"#)
        #expect(try await tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        let expected = try await tenant.expectation(
            "INVALID", 400, customer: customer.id, idempotencyKey: nil, answer: answer)
        #expect(entries[0].mismatches(with: expected) == [])
    }

    @Test(
        "an idempotency-key that is no UUID is a 400",
        arguments: [
            "1", "retry-1", "\"\"", "\"1\"", "\"550e8400-e29b-41d4-a716-446655440001",
            "550e8400-e29b-41d4-a716-446655440001\"",
            "550e8400-e29b-41d4-a716-446655440001, 550e8400-e29b-41d4-a716-446655440001",
            "550e8400e29b41d4a716446655440001", "\"\"550e8400-e29b-41d4-a716-446655440001\"\"",
            "'550e8400-e29b-41d4-a716-446655440001'", "\" 550e8400-e29b-41d4-a716-446655440001\"",
        ])
    func keyMalformed(key: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answer.status == 400)
        #expect(answer.body == #"{"statusCode":400,"message":"idempotency-key must be a UUID","error":"Bad Request"}"#)
        #expect(try await tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        let expected = try await tenant.expectation(
            "INVALID", 400, customer: customer.id, idempotencyKey: nil, answer: answer)
        #expect(entries[0].mismatches(with: expected) == [])
    }

    @Test("an empty idempotency-key is a 400", arguments: ["", " "])
    func keyEmpty(key: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains("idempotency-key"))
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().map { $0["outcome"] } == ["INVALID"])
    }

    @Test("an idempotency-key given twice is a 400, even when both are the same")
    func keyTwice() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key, headers: [("Idempotency-Key", key)])

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains("idempotency-key"))
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().map { $0["outcome"] } == ["INVALID"])
    }

    @Test("a body is ignored, whatever its type")
    func body() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        var call = tenant.deletion(of: customer.id, headers: [("content-type", "application/json")])
        call.body = #"{"id": "another", "#

        let answer = try await tenant.send(call)

        #expect(answer.status == 200)
        #expect(try await !tenant.hasCustomer(customer.id))
    }

    @Test("every authenticated answer counts the budget down")
    func rateHeaders() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let calls = [
            tenant.deletion(of: customer.id, idempotencyKey: key),
            tenant.deletion(of: customer.id, idempotencyKey: key),
            tenant.deletion(of: newID(), idempotencyKey: key),
            tenant.deletion(of: "no-uuid"),
            tenant.deletion(of: newID(), idempotencyKey: nil),
        ]

        var answers: [HTTPAnswer] = []
        for call in calls { answers.append(try await tenant.send(call)) }

        #expect(answers.map(\.status) == [200, 200, 422, 400, 400])
        #expect(answers.map { $0["x-ratelimit-limit"] } == Array(repeating: "100", count: 5))
        #expect(answers.map { $0["x-ratelimit-remaining"] } == ["99", "98", "97", "96", "95"])
        let resets = Set(answers.map { $0["x-ratelimit-reset"] ?? "" })
        #expect(resets.count == 1, "one window")
        let now = try await stage.database.value("SELECT extract(epoch FROM now())::bigint")
        let left = try #require(resets.first.flatMap { Int($0) }) - #require(now.flatMap { Int($0) })
        #expect((0...61).contains(left))
    }

    @Test("a trigger's own 23503 is a 500, isn't kept, and can be tried again")
    func foreignViolation() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let trigger = "refuse_\(customer.id.prefix(8))"
        try await stage.database.alter(
            """
            CREATE FUNCTION \(trigger)() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE foreign_key_violation USING MESSAGE = 'not today', DETAIL = 'a row with all that is in it';
            END $$;
            CREATE TRIGGER \(trigger) BEFORE DELETE ON customers
                FOR EACH ROW WHEN (OLD.id = '\(customer.id)') EXECUTE FUNCTION \(trigger)();
            """
        )
        let key = newID()

        let failed = try await tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.alter("DROP TRIGGER \(trigger) ON customers")
        let retried = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(failed.status == 500)
        #expect(failed.body == #"{"statusCode":500,"message":"Internal server error","error":"Internal Server Error"}"#)
        #expect(failed["link"] == nil)
        #expect(failed.rateHeaders.count == 3)
        #expect(retried.status == 200)
        #expect(retried["idempotent-replayed"] == nil)
        let entries = try await tenant.entries()
        try #require(entries.map { $0["outcome"] } == ["FAILED", "SUCCEEDED"])
        #expect(entries[0]["status_code"] == "500")
        #expect(entries[0]["sqlstate"] == "23503")
        #expect(entries[0]["error_code"] == nil, "P2003 is for refusals")
        #expect(entries[0]["error_message"]?.contains("a row with all that is in it") != true)
    }

    @Test("a foreign key between other tables that a deletion violates is a 500")
    func remoteViolation() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let name = "remote_\(customer.id.prefix(8))"
        try await stage.database.alter(
            """
            CREATE SCHEMA \(name);
            CREATE TABLE \(name).parents (id int PRIMARY KEY);
            CREATE TABLE \(name).children (parent int NOT NULL REFERENCES \(name).parents);
            INSERT INTO \(name).parents VALUES (1);
            INSERT INTO \(name).children VALUES (1);
            CREATE FUNCTION \(name).forget() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
                DELETE FROM \(name).parents;
                RETURN OLD;
            END $$;
            CREATE TRIGGER \(name) BEFORE DELETE ON customers
                FOR EACH ROW WHEN (OLD.id = '\(customer.id)') EXECUTE FUNCTION \(name).forget();
            """
        )

        let answer = try await tenant.delete(customer.id)

        try await stage.database.alter("DROP TRIGGER \(name) ON customers")
        #expect(answer.status == 500)
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().map { $0["outcome"] } == ["FAILED"])
    }

    @Test("a trigger that keeps the row doesn't make the service say that there is none")
    func suppressed() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let trigger = "keep_\(customer.id.prefix(8))"
        try await stage.database.alter(
            """
            CREATE FUNCTION \(trigger)() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
            CREATE TRIGGER \(trigger) BEFORE DELETE ON customers
                FOR EACH ROW WHEN (OLD.id = '\(customer.id)') EXECUTE FUNCTION \(trigger)();
            """
        )
        let key = newID()

        let answer = try await tenant.delete(customer.id, idempotencyKey: key)
        try await stage.database.alter("DROP TRIGGER \(trigger) ON customers")
        let retried = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect(answer.status == 500)
        #expect(retried.status == 200)
        #expect(try await tenant.entries().map { $0["outcome"] } == ["FAILED", "SUCCEEDED"])
    }

    @Test(
        "a unique_violation, or any other error, is a 500 that tells nothing",
        arguments: ["23505", "P0001", "22012", "XX000"])
    func otherErrors(sqlstate: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let trigger = "fail_\(customer.id.prefix(8))"
        try await stage.database.alter(
            """
            CREATE FUNCTION \(trigger)() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                RAISE EXCEPTION 'boom' USING ERRCODE = '\(sqlstate)';
            END $$;
            CREATE TRIGGER \(trigger) AFTER DELETE ON customers
                FOR EACH ROW WHEN (OLD.id = '\(customer.id)') EXECUTE FUNCTION \(trigger)();
            """
        )

        let answer = try await tenant.delete(customer.id)

        try await stage.database.alter("DROP TRIGGER \(trigger) ON customers")
        #expect(answer.status == 500)
        #expect(answer.body == #"{"statusCode":500,"message":"Internal server error","error":"Internal Server Error"}"#)
        #expect(try await tenant.hasCustomer(customer.id))
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(entries[0]["outcome"] == "FAILED")
        #expect(entries[0]["sqlstate"] == sqlstate)
    }
}
