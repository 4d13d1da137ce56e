import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("A scheduled deletion", .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "1"]))
struct ScheduleTests {
    let stage = Stage.current

    /// A time of the database's clock.
    private func time(in seconds: Double) async throws -> String {
        try #require(
            try await stage.database.value(
                "SELECT service.rfc3339(date_trunc('milliseconds', clock_timestamp() + $1::float * interval '1 s'))",
                [.text("\(seconds)")]))
    }

    private func schedule(
        _ tenant: Tenant, _ customer: String, in seconds: Double, reason: String? = nil, key: String? = nil
    ) async throws -> HTTPAnswer {
        let reason = reason.map { #","reason":"\#($0)""# } ?? ""
        return try await tenant.ask(
            "PUT", "/\(customer)/scheduled-deletion", #"{"at":"\#(try await time(in: seconds))"\#(reason)}"#, key: key)
    }

    private func read(_ tenant: Tenant, _ customer: String) async throws -> HTTPAnswer {
        try await tenant.ask("GET", "/\(customer)/scheduled-deletion")
    }

    /// Lets its time come.
    private func makeDue(_ tenant: Tenant) async throws {
        try await stage.database.rows(
            """
            UPDATE service.scheduled_deletions
            SET delete_at = clock_timestamp() - interval '1 s', try_after = clock_timestamp() - interval '1 s'
            WHERE app_id = $1 AND status = 'SCHEDULED'
            """, [.text(tenant.app)])
    }

    private func ended(_ tenant: Tenant, _ customer: String, as status: String) async throws {
        try await eventually("the deletion ended as \(status)") {
            try await read(tenant, customer).body.hasSuffix(#""status":"\#(status)"}"#)
        }
    }

    @Test("is called off when its customer, who was deleted before, is restored")
    func restored() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let at = try await time(in: 3600)
        #expect(
            try await tenant.ask("PUT", "/\(customer.id)/scheduled-deletion", #"{"at":"\#(at)"}"#).status == 202)
        #expect(try await tenant.delete(customer.id).status == 200)

        let restored = try await tenant.post("restore", customer.id)
        let schedule = try await read(tenant, customer.id)
        try await makeDue(tenant)

        #expect(restored.status == 200 && schedule.body.hasSuffix(#""status":"CANCELLED"}"#), "\(schedule)")
        let entry = try #require(try await tenant.entries().last { $0["action"] == "customer.restore" })
        #expect(entry.request("cancelled_schedule") == at)
        #expect(
            try await stage.database.value(
                "SELECT count(*) FROM service.take_due_deletions($1, '15 s', '1 day', 20)", [.text(tenant.app)]) == "0")
        #expect(try await tenant.hasCustomer(customer.id))
    }

    @Test("is scheduled, read, moved and called off")
    func life() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let (first, second) = (try await time(in: 3600), try await time(in: 7200))
        func body(_ at: String, _ status: String) -> String {
            #"{"customer":\#(customer.record(app: tenant.app)),"delete_at":"\#(at)","status":"\#(status)"}"#
        }

        let scheduled = try await tenant.ask(
            "PUT", "/\(customer.id)/scheduled-deletion", #"{"at":"\#(first)","reason":"Account closed"}"#)
        let shown = try await read(tenant, customer.id)
        let moved = try await tenant.ask("PUT", "/\(customer.id)/scheduled-deletion", #"{"at":"\#(second)"}"#)
        let cancelled = try await tenant.ask("DELETE", "/\(customer.id)/scheduled-deletion")
        let again = try await tenant.ask("DELETE", "/\(customer.id)/scheduled-deletion")

        #expect(scheduled.status == 202 && scheduled.body == body(first, "SCHEDULED") && scheduled["etag"] == nil)
        #expect(shown.status == 200 && shown.body == scheduled.body)
        #expect(moved.status == 202 && moved.body == body(second, "SCHEDULED"))
        #expect(cancelled.status == 200 && cancelled.body == body(second, "CANCELLED"))
        #expect(again.body == HTTPAnswer.error(404, "Scheduled deletion not found", "Not Found"))
        #expect(try await read(tenant, customer.id).body == body(second, "CANCELLED"))
        let entries = try await tenant.entries()
        #expect(
            entries.map { $0["action"] }
                == ["deletion.schedule", "deletion.schedule", "deletion.cancel", "deletion.cancel"])
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "NOT_FOUND"])
        #expect(entries[0]["reason"] == "Account closed" && entries[1]["reason"] == nil)
        #expect(entries.prefix(2).map { $0.request("schedule", "delete_at") } == [first, second])
        #expect(entries.allSatisfy { $0["before_image"] != nil && $0["customer_id"] == customer.id })
    }

    @Test("happens at its time, once, as the key that scheduled it, with an entry of its own")
    func happens() async throws {
        let tenant = try await stage.tenant(name: "retention")
        let customer = try await tenant.insert()
        _ = try await tenant.ask(
            "PUT", "/\(customer.id)/scheduled-deletion",
            #"{"at":"\#(try await time(in: 1.5))","reason":"Account closed"}"#, headers: [("x-actor-id", "bob")])
        #expect(try await tenant.hasCustomer(customer.id))

        try await ended(tenant, customer.id, as: "DELETED")

        #expect(try await !tenant.hasCustomer(customer.id))
        #expect(try await read(tenant, customer.id).body.hasPrefix(#"{"customer":null,"delete_at":""#))
        let entries = try await tenant.entries(about: customer.id)
        #expect(entries.map { $0["action"] } == ["deletion.schedule", "customer.delete"])
        let entry = try #require(entries.last)
        #expect(entry["outcome"] == "SUCCEEDED" && entry["status_code"] == "200" && entry["before_image"] != nil)
        #expect(entry["actor_client_key"] == tenant.key.clientKey && entry["actor_name"] == "retention")
        #expect(entry["actor_claimed"] == "bob")
        #expect(entry["reason"] == "Account closed" && entry.request("scheduled_by") == entries[0]["id"])
        let late = try await stage.database.value(
            """
            SELECT extract(epoch FROM e.recorded_at - s.delete_at)
            FROM service.scheduled_deletions AS s
            JOIN audit.entries AS e ON e.app_id = s.app_id AND e.id = s.attempt_id
            WHERE s.app_id = $1
            """, [.text(tenant.app)])
        let seconds = try #require(late.flatMap { Double($0) })
        #expect((0...5).contains(seconds))
    }

    @Test("of a customer that has records, or is held, is refused, with the constraint that did")
    func refused() async throws {
        let tenant = try await stage.tenant()
        let (billed, held) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: billed.id)
        _ = try await tenant.ask("PUT", "/\(held.id)/hold", #"{"reason":"Lawsuit"}"#)
        for customer in [billed, held] { _ = try await schedule(tenant, customer.id, in: 3600) }

        try await makeDue(tenant)

        for (customer, constraint) in [
            (billed, "invoices_belong_to_a_customer"), (held, "legal_holds_keep_a_customer"),
        ] {
            try await ended(tenant, customer.id, as: "REFUSED")
            #expect(try await tenant.hasCustomer(customer.id))
            let entry = try #require(try await tenant.entries(about: customer.id).last)
            #expect(entry["action"] == "customer.delete" && entry["outcome"] == "REFUSED")
            #expect(entry["constraint_name"] == constraint)
        }
    }

    @Test("of a customer that is gone by then ends as NOT_FOUND, and of one that never was is a 404")
    func gone() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await schedule(tenant, customer.id, in: 3600)
        _ = try await tenant.delete(customer.id)

        try await makeDue(tenant)

        try await ended(tenant, customer.id, as: "NOT_FOUND")
        #expect(try await tenant.entries().map { $0["outcome"] } == ["SUCCEEDED", "SUCCEEDED", "NOT_FOUND"])
        let never = newID()
        for answer in [try await schedule(tenant, never, in: 3600), try await read(tenant, never)] {
            #expect(answer.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        }
    }

    @Test(
        "by a key that may no longer delete is forbidden, with an entry",
        arguments: [
            "revoked_at = now()", "expires_at = now()", "role = 'editor'", "permissions = '{customers:read}'",
        ])
    func forbidden(change: String) async throws {
        let tenant = try await stage.tenant()
        let scheduler = tenant.with(try await stage.database.createKey(app: tenant.app, name: "scheduler"))
        let customer = try await tenant.insert()
        _ = try await schedule(scheduler, customer.id, in: 3600)
        try await stage.database.rows(
            "UPDATE service.api_keys SET \(change) WHERE client_key = $1", [.text(scheduler.key.clientKey)])

        try await makeDue(tenant)

        try await ended(tenant, customer.id, as: "FORBIDDEN")
        #expect(try await tenant.hasCustomer(customer.id))
        try await eventually("the entry was written") { try await tenant.entries().count == 2 }
        let entry = try #require(try await tenant.entries().last)
        #expect(entry["action"] == "customer.delete" && entry["outcome"] == "FORBIDDEN")
        #expect(entry["status_code"] == "403" && entry["actor_client_key"] == scheduler.key.clientKey)
    }

    @Test("that was called off never happens, and one can be scheduled again")
    func cancelled() async throws {
        let tenant = try await stage.tenant()
        let (kept, other) = (try await tenant.insert(), try await tenant.insert())
        _ = try await schedule(tenant, kept.id, in: 3600)
        _ = try await tenant.ask("DELETE", "/\(kept.id)/scheduled-deletion")
        _ = try await schedule(tenant, other.id, in: 3600)
        try await stage.database.rows(
            "UPDATE service.scheduled_deletions SET delete_at = now(), try_after = now() WHERE app_id = $1",
            [.text(tenant.app)])

        try await ended(tenant, other.id, as: "DELETED")

        #expect(try await tenant.hasCustomer(kept.id))
        _ = try await schedule(tenant, kept.id, in: 3600)
        try await makeDue(tenant)
        try await ended(tenant, kept.id, as: "DELETED")
    }

    @Test("that is scheduled twice at once begins again rather than wait for the other, with the customer locked")
    func twice() async throws {
        let stage = try await Stage.open()
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let customerHolder = try await stage.database.begin(
            "SELECT FROM customers WHERE app_id = '\(tenant.app)' FOR UPDATE")
        async let scheduled = schedule(tenant, customer.id, in: 3600)
        try await stage.database.waitUntilBlocked()
        try await stage.database.rows(
            """
            INSERT INTO service.scheduled_deletions (app_id, customer_id, delete_at, key_id, scheduled_by, try_after)
            SELECT $1, $2, t.at, gen_random_uuid(), gen_random_uuid(), t.at
            FROM (SELECT clock_timestamp() + interval '2 hours' AS at) AS t
            """, [.text(tenant.app), .text(customer.id)])
        let scheduleHolder = try await stage.database.begin(
            "SELECT FROM service.scheduled_deletions WHERE app_id = '\(tenant.app)' FOR UPDATE")

        try await customerHolder.rollBack()
        try await stage.database.waitUntilBlocked()
        let locking = "SELECT FROM customers WHERE app_id = '\(tenant.app)' FOR UPDATE NOWAIT"
        let ofCustomer = try await stage.database.sqlstate(locking, as: "postgres")
        try await scheduleHolder.rollBack()

        #expect(ofCustomer == nil)
        #expect(try await scheduled.status == 202)
    }

    @Test("is listed by its time, page by page, filtered by status and time, own app only")
    func list() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        var customers: [String] = []
        for hours in 1...5 {
            let customer = try await tenant.insert()
            customers.append(customer.id)
            _ = try await schedule(tenant, customer.id, in: Double(hours) * 3600)
        }
        _ = try await schedule(other, try await other.insert().id, in: 60)
        _ = try await tenant.ask("DELETE", "/\(customers[1])/scheduled-deletion")
        func page(_ query: String) async throws -> (ids: [String], cursor: String?) {
            let answer = try await tenant.get("/api/v0/scheduled-deletions?\(query)")
            #expect(answer.status == 200, "\(answer)")
            let items = try answer.object["data"] as? [[String: Any]] ?? []
            for item in items {
                #expect(Set(item.keys) == ["customer_id", "customer", "delete_at", "status"])
                #expect((item["customer"] as? [String: Any])?["id"] as? String == item["customer_id"] as? String)
            }
            return (items.compactMap { $0["customer_id"] as? String }, try answer.object["next_cursor"] as? String)
        }

        let first = try await page("limit=2")
        let second = try await page("limit=2&cursor=\(try #require(first.cursor))")
        let third = try await page("limit=2&cursor=\(try #require(second.cursor))")

        #expect(first.ids + second.ids + third.ids == customers && third.cursor == nil)
        #expect(try await page("status=CANCELLED").ids == [customers[1]])
        #expect(
            try await page("status=SCHEDULED&before=\(try await time(in: 3.5 * 3600))").ids == [
                customers[0], customers[2],
            ])
        let ofCustomers = try await tenant.get("/api/v0/customers?take=1&cursor=*").object["next_cursor"] as? String
        for (query, name) in [
            ("status=GONE", "status"), ("cursor=x", "cursor"), ("cursor=\(try #require(ofCustomers))", "cursor"),
            ("limit=0", "limit"), ("before=x", "before"),
        ] {
            let answer = try await tenant.get("/api/v0/scheduled-deletions?\(query)")
            #expect(answer.status == 400 && answer.body.contains(name))
        }
    }

    @Test(
        "an invalid one is a 400 that names the member",
        arguments: [
            ("{}", "at is required"), (#"{"at":null}"#, "at is required"),
            (#"{"at":"soon"}"#, "at must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
            (#"{"at":"2020-01-01T00:00:00Z"}"#, "at must be in the future"),
            (#"{"at":"2999-01-01T00:00:00Z"}"#, "at must be at most one year ahead"),
            (#"{"at":"2999-01-01T00:00:00Z","reason":""}"#, "reason must be 1 to 500 characters"),
            (#"{"at":"2999-01-01T00:00:00Z","when":1}"#, "unknown member when; known are at, reason"),
        ])
    func invalid(body: String, message: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.ask("PUT", "/\(customer.id)/scheduled-deletion", body)

        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
        #expect(try await tenant.outcomes() == ["INVALID"])
        #expect(try await read(tenant, customer.id).status == 404)
    }

    @Test("keeps no personal data of a customer that is redacted, and happens all the same")
    func redaction() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let key = newID()
        let scheduled = try await schedule(tenant, person.id, in: 3600, reason: person.reason, key: key)

        _ = try await tenant.post("redact", person.id)

        try await stage.expectNoTrace(of: person)
        let body = try #require(
            try await stage.database.value(
                "SELECT body FROM service.attempts WHERE idempotency_key = $1", [.text(key)]))
        #expect(body == person.redacted(scheduled.body))
        try await makeDue(tenant)
        try await ended(tenant, person.id, as: "DELETED")
        try await stage.expectNoTrace(of: person)
    }

    @Test("is replayed with its key")
    func replay() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let (key, body) = (newID(), #"{"at":"\#(try await time(in: 3600))"}"#)

        let first = try await tenant.ask("PUT", "/\(customer.id)/scheduled-deletion", body, key: key)
        let second = try await tenant.ask("PUT", "/\(customer.id)/scheduled-deletion", body, key: key)

        #expect(second.status == 202 && second.body == first.body && second["idempotent-replayed"] == "true")
    }
}
