import LibPQ
import TestSupport
import Testing

@Suite("Restoring a customer", .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "30"]))
struct RestorationTests {
    let stage = Stage.current

    @Test("brings it back as it was, with its id, its times and every digit, and dates the change")
    func restores() async throws {
        let tenant = try await stage.tenant()
        var customer = try await tenant.insert(
            CustomerFixture {
                ($0.firstName, $0.lastName) = ("Zoë \"👩🏽‍🚀\"", "\\O'Neil\n")
                ($0.status, $0.customerType) = ("BLACKLISTED", "Non-Profit")
                $0.lastSpent = "9999999999999999.99"
                $0.lastPurchaseDate = "2024-02-29T23:59:59.000001Z"
                $0.createdAt = "1969-12-31T23:59:59.999999Z"
            })
        _ = try await tenant.delete(customer.id)

        let answer = try await tenant.post("restore", customer.id)

        let old = customer.updatedAt
        customer.updatedAt = try Record(answer).updatedAt
        #expect(answer.status == 200)
        #expect(answer.body == customer.record(app: tenant.app))
        #expect(customer.updatedAt > old)
        let read = try await tenant.read(customer.id)
        #expect(read.body == answer.body)
        #expect(read["etag"] == answer["etag"])
    }

    @Test("brings back what was absent as absent")
    func absent() async throws {
        let tenant = try await stage.tenant()
        var customer = try await tenant.insert(
            CustomerFixture { ($0.email, $0.lastSpent, $0.lastPurchaseDate, $0.phoneNumber) = (nil, nil, nil, "") })
        _ = try await tenant.delete(customer.id)

        let answer = try await tenant.post("restore", customer.id)

        customer.updatedAt = try Record(answer).updatedAt
        #expect(answer.body == customer.record(app: tenant.app))
    }

    @Test("has an entry of its own, and a replay")
    func entry() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        let key = newID()

        let answer = try await tenant.post("restore", customer.id, key: key, reason: "a mistake")
        let replay = try await tenant.post("restore", customer.id, key: key)

        #expect(replay.body == answer.body)
        #expect(replay["etag"] == answer["etag"])
        #expect(replay["idempotent-replayed"] == "true")
        let entries = try await tenant.entries()
        #expect(entries.map { $0["action"] } == ["customer.delete", "customer.restore", "customer.restore"])
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "SUCCEEDED", "REPLAYED"])
        #expect(entries[1]["customer_id"] == customer.id)
        #expect(entries[1]["before_image"] == nil)
        #expect(entries[1]["reason"] == "a mistake")
    }

    @Test("takes the last of several deletions, one of a bulk request too")
    func lastDeletion() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        _ = try await tenant.post("restore", customer.id)
        let patched = try await tenant.patch(customer.id, #"{"last_name":"Second"}"#)
        _ = try await tenant.bulkDelete([customer.id])

        let answer = try await tenant.post("restore", customer.id)

        #expect(answer.status == 200)
        #expect(answer.body.contains("Second"))
        #expect(try Record(answer).createdAt == Record(patched).createdAt)
    }

    @Test("one who lives is a 409, which isn't kept")
    func living() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await tenant.post("restore", customer.id, key: key)
        _ = try await tenant.delete(customer.id)
        let second = try await tenant.post("restore", customer.id, key: key)
        let again = try await tenant.post("restore", customer.id)

        #expect([first, second, again].map(\.status) == [409, 200, 409])
        #expect(first.hasErrorForm)
        #expect(second["idempotent-replayed"] == nil)
        let entries = try await tenant.entries()
        #expect(entries.map { $0["outcome"] } == ["CONFLICT", "SUCCEEDED", "SUCCEEDED", "CONFLICT"])
        #expect(try await stage.database.image(of: entries[0], is: customer.record(app: tenant.app)))
    }

    @Test("one who never was is a 404, one that another app deleted too")
    func unknown() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        let theirs = try await other.insert()
        _ = try await other.delete(theirs.id)

        let unknown = try await tenant.post("restore", newID())
        let foreign = try await tenant.post("restore", theirs.id)

        #expect(unknown.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        #expect(foreign.body == unknown.body)
        #expect(try await tenant.customerCount() == "0")
        #expect(try await tenant.outcomes() == ["NOT_FOUND", "NOT_FOUND"])
    }

    @Test("one who was redacted after the deletion is a 409")
    func redacted() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        _ = try await tenant.post("redact", customer.id)

        let answer = try await tenant.post("restore", customer.id)

        #expect(answer.status == 409)
        #expect(answer.hasErrorForm)
        #expect(try await !tenant.hasCustomer(customer.id))
    }

    @Test("two at one time: one restores, one is told that the customer lives")
    func simultaneous() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)

        async let first = tenant.post("restore", customer.id)
        async let second = tenant.post("restore", customer.id)
        let statuses = try await [first.status, second.status]

        #expect(statuses.sorted() == [200, 409])
    }

    @Test("an editor may not, a role that deletes may", arguments: [("editor", 403), ("viewer", 403), ("admin", 200)])
    func permission(role: String, status: Int) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        let colleague = tenant.with(try await stage.database.createKey(app: tenant.app, role: role))

        let answer = try await colleague.post("restore", customer.id)

        #expect(answer.status == status)
        #expect(try await tenant.hasCustomer(customer.id) == (status == 200))
    }

    @Test("a deletion older than the days allow is a 409", .singleNode("Citus takes no STABLE function of a column in an UPDATE"))
    func tooOld() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)

        try await age(tenant, by: "30 days")
        let tooLate = try await tenant.post("restore", customer.id)
        try await age(tenant, by: "-1 minute")
        let inTime = try await tenant.post("restore", customer.id)
        try await age(tenant, by: "-30 days + 1 minute")

        #expect(tooLate.status == 409)
        #expect(tooLate.hasErrorForm)
        #expect(inTime.status == 200)
    }

    /// Moves a tenant's deletions into the past, which only a superuser can do.
    private func age(_ tenant: Tenant, by interval: String) async throws {
        try await stage.database.run(
            """
            ALTER TABLE audit.entries DISABLE TRIGGER USER;
            UPDATE audit.entries SET recorded_at = recorded_at - interval '\(interval)'
            WHERE app_id = '\(tenant.app)' AND action = 'customer.delete';
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed;
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_truncated;
            """)
    }
}
