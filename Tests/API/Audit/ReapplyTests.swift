import Foundation
import LibPQ
import TestSupport
import Testing

/// `customerd reapply`, of the export of one database to another that is as an older backup of it.
@Suite("After a restore", .stages)
struct ReapplyTests {
    struct Report: Decodable, Equatable {
        struct Failure: Decodable, Equatable {
            var entry: String
            var message: String
        }

        var deleted = 0
        var redacted = 0
        var revoked = 0
        var held = 0
        var scheduled: Int?
        var cancelled: Int?
        var unchanged = 0
        var failed: [Failure] = []
    }

    private func export(_ database: TestDatabase) async throws -> String {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("export-\(newID()).ndjson").path
        try Data(try await database.customerd(["audit", "export"]).utf8).write(to: URL(fileURLWithPath: path))
        return path
    }

    private func reapply(
        _ export: String, to database: TestDatabase, _ options: [String] = []
    ) async throws -> (status: Int32, report: Report) {
        let ended = try await Customerd.run(
            ["reapply", "--export", export, "--json"] + options, ["DATABASE_URL": database.url()])
        return (ended.status, try JSONDecoder().decode(Report.self, from: Data(ended.output.utf8)))
    }

    @Test("the dead die again: deletions, redactions, revoked keys and holds, each with an entry, and only once")
    func reapplied() async throws {
        let (now, then) = (try await Stage.open(), try await Stage.open())
        let tenant = try await now.tenant()
        let old = Tenant(database: then.database, service: then.service, key: tenant.key)
        let other = try await now.database.createKey(app: tenant.app, name: "other")
        for key in [tenant.key, other] {
            try await then.database.rows(
                """
                INSERT INTO service.api_keys (app_id, client_key, secret_digest, name, role)
                VALUES ($1, $2, sha256(convert_to($3, 'UTF8')), 'tests', 'admin')
                """, [.text(key.app), .text(key.clientKey), .text(key.secret)])
        }
        let person = Person()
        var customers: [CustomerFixture] = []
        for _ in 1...6 { customers.append(try await tenant.insert()) }
        try await tenant.insert(person.customer)
        for customer in customers + [person.customer] { try await old.insert(customer) }
        // What happened after the backup.
        let (deleted, billed, held, released, created) = (
            customers[0], customers[1], customers[2], customers[3], try await tenant.insert()
        )
        for customer in [deleted, billed, created] { #expect(try await tenant.delete(customer.id).status == 200) }
        #expect(try await tenant.post("redact", person.id).status == 200)
        for customer in [held, released] {
            _ = try await tenant.ask("PUT", "/\(customer.id)/hold", #"{"reason":"Lawsuit"}"#)
        }
        _ = try await tenant.ask("DELETE", "/\(released.id)/hold")
        try await now.database.revoke(other)
        // And what the backup has that would keep a customer now.
        try await old.insertDependent("invoices", of: billed.id)
        let export = try await export(now.database)

        let dry = try await reapply(export, to: then.database, ["--dry-run"])
        let isUntouched = try await then.database.value("SELECT count(*) FROM audit.entries") == "0"
        let first = try await reapply(export, to: then.database)
        let entries = try await then.database.rows("SELECT * FROM audit.entries ORDER BY seq")
        let second = try await reapply(export, to: then.database)

        let refused = try #require(
            try await tenant.entries(about: billed.id).last { $0["action"] == "customer.delete" }?["id"])
        let failures = [Report.Failure(entry: refused, message: "refused by invoices_belong_to_a_customer")]
        let expected = Report(deleted: 1, redacted: 1, revoked: 1, held: 1, unchanged: 3, failed: failures)
        #expect(dry.report == expected && dry.status == 1 && isUntouched)
        #expect(first.report == expected && first.status == 1)
        #expect(second.report == Report(unchanged: 7, failed: failures) && second.status == 1)
        #expect(try await then.database.value("SELECT count(*) FROM audit.entries") == "\(entries.count)")
        #expect(try await !old.hasCustomer(deleted.id))
        #expect(try await old.hasCustomer(billed.id))
        try await then.expectNoTrace(of: person)
        #expect(try await old.ask("GET", "/\(held.id)/hold").body.contains(#""reason":"Lawsuit""#))
        #expect(try await old.with(other).read(held.id).status == 401)
        let originals = try await now.database.rows("SELECT id FROM audit.entries").compactMap { $0["id"] }
        #expect(entries.count == 5)
        for entry in entries {
            let source = try JSONSerialization.jsonObject(with: Data((entry["request"] ?? "").utf8)) as? [String: Any]
            #expect(originals.contains(source?["reapplied_from"] as? String ?? ""), "\(entry)")
        }
    }

    @Test("a customer that was restored later lives on")
    func restored() async throws {
        let settings = ["CUSTOMERD_RESTORE_DAYS": "30"]
        let (now, then) = (try await Stage.open(settings), try await Stage.open(settings))
        let tenant = try await now.tenant()
        let customer = try await tenant.insert()
        let old = Tenant(database: then.database, service: then.service, key: tenant.key)
        try await old.insert(customer)
        _ = try await tenant.delete(customer.id)
        #expect(try await tenant.post("restore", customer.id).status == 200)

        let (status, report) = try await reapply(try await export(now.database), to: then.database)

        #expect(status == 0 && report == Report(unchanged: 1))
        #expect(try await old.hasCustomer(customer.id))
    }

    @Test("an export that doesn't verify does nothing")
    func broken() async throws {
        let stage = try await Stage.open()
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        let path = try await export(stage.database)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try Data(text.replacing("SUCCEEDED", with: "REFUSED").utf8).write(to: URL(fileURLWithPath: path))
        try await tenant.insert(customer)

        let ended = try await Customerd.run(
            ["reapply", "--export", path, "--json"], ["DATABASE_URL": stage.database.url()])

        #expect(ended.status == 1 && ended.output.contains("doesn't verify"))
        #expect(try await tenant.hasCustomer(customer.id))
    }

    @Test(
        "what was called off after the backup stays so: schedules, bulk deletions; what came of them isn't begun anew")
    func calledOff() async throws {
        let settings = [
            "CUSTOMERD_RESTORE_DAYS": "1", "CUSTOMERD_BULK_PER_SECOND": "1", "CUSTOMERD_RATE_LIMIT": "1000000",
        ]
        let now = try await Stage.open(settings)
        let tenant = try await now.tenant()
        let customers = try await tenant.insert(count: 40)
        let (cancelled, moved) = (customers[0], customers[1])
        func schedule(_ customer: String, days: Double) async throws {
            let at = Date.now.addingTimeInterval(days * 86400).ISO8601Format()
            let answer = try await tenant.ask("PUT", "/\(customer)/scheduled-deletion", #"{"at":"\#(at)"}"#)
            #expect(answer.status == 202, "\(answer)")
        }
        for customer in [cancelled, moved] { try await schedule(customer, days: 1) }
        let bulk = try #require(try await tenant.startBulk(Array(customers[2...]))["location"])
        try await eventually("the bulk deletion had begun") { try await tenant.customerCount() != "40" }
        let backup = try await now.database.copy()
        #expect(try await tenant.send(HTTPCall("DELETE", bulk, headers: tenant.key.headers)).status == 200)
        #expect(try await tenant.ask("DELETE", "/\(cancelled)/scheduled-deletion").status == 200)
        try await schedule(moved, days: 2)
        let export = try await export(now.database)

        let first = try await reapply(export, to: backup)
        let second = try await reapply(export, to: backup)
        try await backup.run("UPDATE service.bulk_deletions SET try_after = clock_timestamp()")
        let taken = try await backup.value(
            "SELECT count(*) FROM service.take_bulk_items($1, '15 s', '1 day', 20)", [.text(tenant.app)])

        #expect(first.status == 0 && first.report.cancelled == 2 && first.report.scheduled == 1, "\(first)")
        #expect(second.status == 0 && second.report.cancelled == nil && second.report.deleted == 0, "\(second)")
        #expect(taken == "0")
        #expect(
            try await backup.value(
                """
                SELECT string_agg(s.status || ' ' || (s.delete_at > now() + interval '36 hours'), ',' ORDER BY s.status)
                FROM service.scheduled_deletions AS s
                """) == "SCHEDULED true,CANCELLED false")
        #expect(try await Trail.verify(backup).isClean)
        try await backup.drop()
    }

    @Test("an export without entries does nothing, and says so")
    func empty() async throws {
        let database = try await TestDatabase.migrated()
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("export-\(newID()).ndjson").path
        try Data().write(to: URL(fileURLWithPath: path))

        let ended = try await Customerd.run(["reapply", "--export", path], ["DATABASE_URL": database.url()])

        #expect(ended.status == 1 && ended.errors.contains("the export has no entries"), "\(ended)")
        try await database.drop()
    }
}
