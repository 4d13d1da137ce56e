import LibPQ
import TestSupport
import Testing

@Suite("Archiving a customer", .unlimitedStage(["CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct ArchiveTests {
    let stage = Stage.current

    static let dependents = ["invoices", "payment_links", "transactions", "liquidation_addresses"]

    @Test("hides it from the list, and unarchiving brings it back")
    func hides() async throws {
        let tenant = try await stage.tenant()
        var customer = try await tenant.insert()

        let archived = try await tenant.post("archive", customer.id)
        let whileArchived = try await tenant.ask("GET", "?name=\(customer.firstName)")
        let read = try await tenant.read(customer.id)
        let unarchived = try await tenant.post("unarchive", customer.id)
        let afterwards = try await tenant.ask("GET")

        customer.updatedAt = try Record(archived).updatedAt
        #expect(archived.status == 200)
        #expect(archived.body == customer.record(app: tenant.app))
        #expect(whileArchived.body.contains(#""total":0"#))
        #expect(read.body == archived.body)
        #expect(read["etag"] == archived["etag"])
        #expect(unarchived.status == 200)
        #expect(afterwards.body.contains(customer.id))
        let entries = try await tenant.entries()
        #expect(entries.map { $0["action"] } == ["customer.archive", "customer.unarchive"])
        #expect(try entries.map { try Changes.named(by: $0) } == [["archived"], ["archived"]])
        #expect(entries.allSatisfy { $0["before_image"] != nil })
    }

    @Test("refuses new records, keeps those that it has, and takes new ones once unarchived", arguments: dependents)
    func refusesNewRecords(table: String) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent(table, of: customer.id)

        _ = try await tenant.post("archive", customer.id)

        #expect(try await insertion(table, of: customer.id, tenant) == "23514")
        #expect(try await count(table, tenant) == "1")
        _ = try await tenant.post("unarchive", customer.id)
        #expect(try await insertion(table, of: customer.id, tenant) == nil)
        #expect(try await count(table, tenant) == "2")
    }

    @Test("leaves its records changeable, but doesn't let others move to it", arguments: dependents)
    func keepsRecords(table: String) async throws {
        let tenant = try await stage.tenant()
        let (customer, other) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent(table, of: customer.id)
        try await tenant.insertDependent(table, of: other.id)
        _ = try await tenant.post("archive", customer.id)

        let database = stage.database
        let rewritten = try await database.sqlstate(
            """
            UPDATE \(table) SET app_id = app_id, customer_id = customer_id, created_at = created_at
            WHERE customer_id = '\(customer.id)'
            """, as: "postgres")
        let moved = try await database.sqlstate(
            "UPDATE \(table) SET customer_id = '\(customer.id)' WHERE customer_id = '\(other.id)'", as: "postgres")

        #expect(rewritten == nil, "an update that writes every column as it was")
        #expect(moved == "23514")
    }

    @Test("twice is as good as once, in either direction")
    func idempotent() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        for verb in ["archive", "unarchive"] {
            let first = try await tenant.post(verb, customer.id)
            let second = try await tenant.post(verb, customer.id)
            #expect([first, second].map(\.status) == [200, 200])
            #expect(second.body == first.body, "nothing has changed, updatedAt neither")
        }

        let entries = try await tenant.entries()
        #expect(try entries.map { try Changes.named(by: $0) } == [["archived"], [], ["archived"], []])
    }

    @Test("with a key it is replayed, though it was unarchived meanwhile")
    func replayed() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let first = try await tenant.post("archive", customer.id, key: key)
        _ = try await tenant.post("unarchive", customer.id)
        let second = try await tenant.post("archive", customer.id, key: key)

        #expect(second.body == first.body)
        #expect(second["idempotent-replayed"] == "true")
        #expect(try await tenant.ask("GET").body.contains(customer.id))
    }

    @Test("an archived customer is changed, refused and deleted as any other")
    func asAnyOther() async throws {
        let tenant = try await stage.tenant()
        let (free, bound) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: bound.id)
        for customer in [free, bound] { _ = try await tenant.post("archive", customer.id) }

        let patched = try await tenant.patch(free.id, #"{"last_name":"New"}"#)
        let refused = try await tenant.delete(bound.id)
        let deleted = try await tenant.delete(free.id)

        #expect([patched, refused, deleted].map(\.status) == [200, 400, 200])
        #expect(deleted.body == patched.body)
        #expect(try await tenant.ask("GET").body.contains(#""total":0"#), "a change doesn't unarchive")
    }

    @Test("an unknown customer is a 404", arguments: ["archive", "unarchive"])
    func notFound(verb: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.post(verb, newID())

        #expect(answer.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        #expect(try await tenant.outcomes() == ["NOT_FOUND"])
    }

    @Test("no invoice is newer than the archive, whatever runs at one time")
    func simultaneous() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 12)

        try await withThrowingTaskGroup(of: Void.self) { group in
            for customer in customers {
                for _ in 1...6 { group.addTask { _ = try await insertion("invoices", of: customer, tenant) } }
                group.addTask { _ = try await tenant.post("archive", customer) }
            }
            try await group.waitForAll()
        }

        #expect(try await tooNew(tenant) == "0")
        for customer in customers { #expect(try await insertion("invoices", of: customer, tenant) == "23514") }
    }

    @Test("the archive's time is that from which no invoice comes in, though it waited for one that did")
    func waitsForInvoice() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let insert = "INSERT INTO invoices (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer.id)')"
        let first = try await stage.database.begin(insert)

        async let archive = tenant.post("archive", customer.id)
        try await stage.database.waitUntilBlocked()
        let second = try await stage.database.begin("SET LOCAL lock_timeout = '2s'; \(insert)")
        try await first.commit()
        try await second.commit()

        #expect(try await archive.status == 200)
        #expect(try await count("invoices", tenant) == "2")
        #expect(try await tooNew(tenant) == "0")
    }

    private func insertion(_ table: String, of customer: String, _ tenant: Tenant) async throws -> String? {
        try await stage.database.sqlstate(
            "INSERT INTO \(table) (app_id, customer_id) VALUES ('\(tenant.app)', '\(customer)')", as: "postgres")
    }

    private func count(_ table: String, _ tenant: Tenant) async throws -> String? {
        try await stage.database.value("SELECT count(*) FROM \(table) WHERE app_id = $1", [.text(tenant.app)])
    }

    private func tooNew(_ tenant: Tenant) async throws -> String? {
        try await stage.database.value(
            """
            SELECT count(*)
            FROM invoices AS i
            JOIN customers AS c ON c.app_id = i.app_id AND c.id = i.customer_id
            WHERE c.app_id = $1 AND i.created_at > c.archived_at
            """,
            [.text(tenant.app)]
        )
    }
}
