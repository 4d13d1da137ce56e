import Foundation
import LibPQ
import TestSupport
import Testing

/// `sql/audit/*.sql`, each run as the auditor by psql.
@Suite("The questions that auditors ask", .unlimitedStage())
struct AuditQuestionTests {
    private static let directory = projectFile("sql/audit")

    /// - Returns: the rows, columns separated by `|`.
    private func ask(
        _ question: String, _ tenant: Tenant, _ variables: [String: String] = [:]
    ) async throws -> [String] {
        let options = variables.flatMap { ["-v", "\($0)=\($1)"] }
        let output = try await tenant.database.cluster.psql(
            options + ["-f", "\(Self.directory)/\(question).sql"], database: tenant.database.name,
            user: "customerd_auditor")
        return output.split(separator: "\n").map(String.init)
    }

    @Test("each file has a header with its call and a test here")
    func complete() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.directory).sorted()
        let tests = try String(contentsOfFile: #filePath, encoding: .utf8)
        #expect(files.count == 10)
        for file in files {
            let text = try String(contentsOfFile: "\(Self.directory)/\(file)", encoding: .utf8)
            #expect(text.hasPrefix("-- "))
            #expect(text.contains("--   psql ") && text.contains("-f sql/audit/\(file)"), "\(file) shows its call")
            #expect(tests.contains("ask(\"\(file.dropLast(4))\""), "\(file) is tested")
        }
    }

    @Test("who deleted a customer, and what was in the record")
    func whoDeleted() async throws {
        let tenant = try await Stage.current.tenant(name: "back office")
        let customer = try await tenant.insert(CustomerFixture { $0.firstName = #"O'Neil "x""# })
        _ = try await tenant.delete(customer.id, headers: [("x-actor-id", "bob"), ("x-audit-reason", "asked to")])

        let rows = try await ask("who_deleted_customer", tenant, ["customer": customer.id, "app": tenant.app])

        #expect(rows[0].contains("|back office|\(tenant.key.clientKey)|admin|bob|asked to|127.0.0.1|"))
        #expect(rows.contains { $0.contains(#""first_name": "O'Neil \"x\"""#) })
        #expect(try await ask("who_deleted_customer", tenant, ["customer": newID()]) == [])
    }

    @Test("all failed attempts of a key, wrong secrets too, until so many days ago")
    func failedAttempts() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        try await tenant.insertDependent("invoices", of: customer.id)
        _ = try await tenant.delete(customer.id)
        _ = try await tenant.delete(newID())
        var wrong = tenant.deletion(of: newID())
        wrong.headers[1].value = "wrong"
        _ = try await tenant.send(wrong)
        _ = try await tenant.delete(try await tenant.insert().id)

        let rows = try await ask("failed_attempts_of_key", tenant, ["client_key": tenant.key.clientKey])

        #expect(
            rows.map { $0.split(separator: "|", omittingEmptySubsequences: false)[2] }
                == ["UNAUTHENTICATED", "NOT_FOUND", "REFUSED"])
        #expect(rows[2].contains("|\(customer.id)|1||127.0.0.1|invoices|"))
        #expect(
            try await ask("failed_attempts_of_key", tenant, ["client_key": tenant.key.clientKey, "days": "0"]) == [])
    }

    @Test("who is under hold, and why")
    func holds() async throws {
        let tenant = try await Stage.current.tenant(name: "legal")
        let (held, released, expired) = (
            try await tenant.insert(), try await tenant.insert(), try await tenant.insert()
        )
        let soon = try #require(
            try await tenant.database.value("SELECT service.rfc3339(clock_timestamp() + interval '2 s')"))
        for (customer, until) in [(held, "null"), (released, "null"), (expired, "\"\(soon)\"")] {
            let body = #"{"reason":"Lawsuit 9","until":\#(until)}"#
            #expect(try await tenant.ask("PUT", "/\(customer.id)/hold", body).status == 200)
        }
        _ = try await tenant.ask("DELETE", "/\(released.id)/hold")
        try await eventually("the time of a hold was over") {
            try await tenant.ask("GET", "/\(expired.id)/hold").status == 404
        }

        let rows = try await ask("customers_under_hold", tenant, ["app": tenant.app])

        #expect(rows.count == 1)
        #expect(rows[0].hasPrefix("\(tenant.app)|\(held.id)|") && rows[0].contains("||legal||Lawsuit 9|"), "\(rows)")
        _ = try await ask("customers_under_hold", tenant)
    }

    @Test("what will be deleted, within so many days")
    func schedules() async throws {
        let tenant = try await Stage.current.tenant(name: "retention")
        func schedule(days: Int) async throws -> String {
            let customer = try await tenant.insert()
            let at = try #require(
                try await tenant.database.value(
                    "SELECT service.rfc3339(now() + make_interval(days => $1))", [.int(days)]))
            let body = #"{"at":"\#(at)","reason":"Account closed"}"#
            #expect(try await tenant.ask("PUT", "/\(customer.id)/scheduled-deletion", body).status == 202)
            return customer.id
        }
        let (soon, cancelled, deleted) = (
            try await schedule(days: 2), try await schedule(days: 2), try await schedule(days: 2)
        )
        let later = try await schedule(days: 20)
        _ = try await tenant.ask("DELETE", "/\(cancelled)/scheduled-deletion")
        _ = try await tenant.delete(deleted)

        let week = try await ask("deletions_to_come", tenant, ["app": tenant.app])
        let month = try await ask("deletions_to_come", tenant, ["app": tenant.app, "days": "30"])

        #expect(week.count == 1 && week[0].hasPrefix("\(tenant.app)|\(soon)|"), "\(week)")
        #expect(week[0].contains("|retention||Account closed|"))
        #expect(month.map { $0.split(separator: "|")[1] } == [Substring(soon), Substring(later)])
    }

    @Test("what blocks deletions most")
    func blockers() async throws {
        let tenant = try await Stage.current.tenant()
        let (first, second) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("transactions", of: first.id)
        try await tenant.insertDependent("payment_links", of: second.id)
        for id in [first.id, first.id, first.id, second.id] { _ = try await tenant.delete(id) }

        let rows = try await ask("what_blocks_deletions", tenant, ["app": tenant.app])

        #expect(rows.count == 2)
        #expect(rows[0].hasPrefix("\(tenant.app)|transactions|transactions_belong_to_a_customer|3|1|75.0|"))
        #expect(rows[1].hasPrefix("\(tenant.app)|payment_links|payment_links_belong_to_a_customer|1|1|25.0|"))
    }

    @Test("deletions out of hours, by the clock of a time zone")
    func outOfHours() async throws {
        let tenant = try await Stage.current.tenant()
        _ = try await tenant.delete(try await tenant.insert().id)
        let hour = try #require(
            try await tenant.database.value("SELECT extract(hour FROM now() AT TIME ZONE 'Asia/Tokyo')::int").flatMap {
                Int($0)
            })

        let never = ["app": tenant.app, "timezone": "Asia/Tokyo", "opens": "0", "closes": "0"]
        let rows = try await ask("deletions_out_of_hours", tenant, never)

        #expect(rows.count == 1)
        #expect(rows[0].contains("John Doe|tests|"))
        #expect(rows[0].contains(" \(hour < 10 ? "0" : "")\(hour):") || rows[0].contains(":00:0"))
        _ = try await ask("deletions_out_of_hours", tenant)
    }

    @Test("one actor's timeline")
    func timeline() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(newID(), headers: [("x-actor-id", "o'bob")])
        _ = try await tenant.delete(customer.id, headers: [("x-actor-id", "o'bob")])
        _ = try await tenant.delete(newID(), headers: [("x-actor-id", "eve")])

        let rows = try await ask("actor_timeline", tenant, ["actor": "o'bob", "app": tenant.app])

        #expect(
            rows.map { $0.split(separator: "|", omittingEmptySubsequences: false)[2] } == ["NOT_FOUND", "SUCCEEDED"])
        #expect(try await ask("actor_timeline", tenant, ["actor": tenant.key.clientKey]).count == 3)
    }

    @Test("attempts by address")
    func byAddress() async throws {
        let tenant = try await Stage.current.tenant()
        let viewer = try await tenant.withKey(role: "viewer")
        _ = try await tenant.delete(try await tenant.insert().id)
        _ = try await tenant.delete(newID())
        _ = try await viewer.delete(newID())

        let rows = try await ask("attempts_by_ip", tenant, ["app": tenant.app])

        #expect(rows.count == 1)
        #expect(rows[0].hasPrefix("127.0.0.1|3|1||1||1|2|"), "\(rows)")
        _ = try await ask("attempts_by_ip", tenant, ["days": "1"])
    }

    @Test("a before-image as a row, amounts exact")
    func image() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.lastSpent = "9999999999999999.90" })
        _ = try await tenant.delete(customer.id)
        let entry = try #require(try await tenant.entries().first?["id"])

        let rows = try await ask("before_image_as_row", tenant, ["entry": entry])

        #expect(rows.count == 1)
        #expect(
            rows[0].hasPrefix(
                "\(customer.id)|John|Doe|john.doe@example.com|+1234567890|ACTIVE|Individual|9999999999999999.90|"
            ))
        #expect(try await ask("before_image_as_row", tenant, ["entry": newID()]) == [])
    }

    @Test("is the chain whole, after a redaction too")
    func wholeChain() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        for _ in 1...3 { _ = try await tenant.delete(newID()) }
        _ = try await tenant.delete(customer.id)
        let redaction = HTTPCall(
            "POST", "/api/v0/customers/\(customer.id)/redact",
            headers: tenant.key.headers + [("idempotency-key", newID())])
        #expect(try await tenant.send(redaction).status == 200)

        #expect(try await ask("is_the_chain_whole", tenant, ["app": tenant.app]) == ["5|t||"])
        #expect(try await ask("is_the_chain_whole", tenant, ["app": newID()]) == ["0|t||"])
    }

    static let damages: [(sql: String, says: String)] = [
        ("UPDATE audit.entries SET outcome = 'FAILED' WHERE seq = 2", "3|f|2|changed"),
        ("UPDATE audit.entries SET reason = 'other' WHERE seq = 2", "3|f|2|changed"),
        ("UPDATE audit.entries SET ip = '10.0.0.1' WHERE seq = 2", "3|f|2|changed"),
        ("UPDATE audit.entries SET subject_salt = NULL, before_image = NULL WHERE seq = 2", "3|f|2|changed"),
        ("UPDATE audit.entries SET hash = sha256(hash) WHERE seq = 1", "3|f|1|changed"),
        ("DELETE FROM audit.entries WHERE seq = 2", "2|f|2|missing"),
        ("DELETE FROM audit.entries WHERE seq = 1", "2|f|1|missing"),
        ("DELETE FROM audit.entries WHERE seq = 3", "2|f|3|cut: the head says 3, the last entry is 2"),
        ("UPDATE audit.heads SET hash = sha256(hash) WHERE true", "3|f|3|the head has another hash"),
    ]

    @Test("a damage is named with the first entry that it breaks", arguments: damages)
    func damagedChain(sql: String, says: String) async throws {
        Stage.current.leaveTrailBroken()
        let tenant = try await Stage.current.tenant()
        for _ in 1...3 { _ = try await tenant.delete(newID(), headers: [("x-audit-reason", "asked to")]) }
        try await tenant.database.run(
            """
            BEGIN;
            ALTER TABLE audit.entries DISABLE TRIGGER USER;
            \(sql) AND app_id = '\(tenant.app)';
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_changed;
            ALTER TABLE audit.entries ENABLE ALWAYS TRIGGER entries_are_never_truncated;
            COMMIT
            """
        )

        #expect(try await ask("is_the_chain_whole", tenant, ["app": tenant.app]) == [says])
    }
}
