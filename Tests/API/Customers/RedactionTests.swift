import LibPQ
import TestSupport
import Testing

@Suite("Redacting a customer", .unlimitedStage())
struct RedactionTests {
    let stage = Stage.current

    @Test("erases the personal data of a living one, whose records stay")
    func living() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        try await tenant.insertDependent("invoices", of: person.id)

        let answer = try await tenant.post("redact", person.id)

        var expected = person.customer
        (expected.firstName, expected.lastName, expected.email, expected.phoneNumber) = ("[redacted]", "", nil, "")
        expected.updatedAt = try Record(answer).updatedAt
        #expect(answer.status == 200)
        #expect(answer.body == expected.record(app: tenant.app))
        #expect(expected.updatedAt > person.customer.updatedAt)
        let read = try await tenant.read(person.id)
        #expect(read.body == answer.body)
        #expect(read["etag"] == answer["etag"])
        #expect(try await tenant.ask("GET", "/\(person.id)/invoices").body.contains(#""total":1"#))
        try await stage.expectNoTrace(of: person)
    }

    @Test("erases the personal data of a deleted one, known from the trail alone")
    func deleted() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let deletion = try await tenant.delete(person.id, headers: [("x-audit-reason", person.reason)])

        let answer = try await tenant.post("redact", person.id)

        #expect(answer.status == 200)
        #expect(answer.body == person.redacted(deletion.body))
        #expect(try await !tenant.hasCustomer(person.id))
        try await stage.expectNoTrace(of: person)
    }

    @Test("knows a deleted one from the trail when the stored answers are gone too")
    func purged() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let deletion = try await tenant.delete(person.id)
        try await stage.database.run("DELETE FROM service.attempts WHERE app_id = '\(tenant.app)'")

        let answer = try await tenant.post("redact", person.id)

        #expect(answer.body == person.redacted(deletion.body))
        try await stage.expectNoTrace(of: person)
    }

    @Test("knows one that was created here and taken away by hand from its stored answer")
    func takenAway() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        let created = try await tenant.create(
            CreationTests.body([
                "first_name": person.marks[0], "last_name": person.marks[1], "email": person.marks[2],
            ]))
        let id = try Record(created).id
        try await stage.database.run("DELETE FROM customers WHERE id = '\(id)'")

        let answer = try await tenant.post("redact", id)

        #expect(answer.status == 200)
        #expect(try Record(answer).id == id)
        try await stage.expectNoTrace(of: person)
    }

    @Test("an unknown one is a 404")
    func unknown() async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.post("redact", newID())

        #expect(answer.body == HTTPAnswer.error(404, "Customer not found", "Not Found"))
        #expect(try await tenant.outcomes() == ["NOT_FOUND"])
    }

    @Test("takes image, reason, message and salt from all entries of the customer, and leaves others alone")
    func entries() async throws {
        let tenant = try await stage.tenant()
        let (person, other) = (Person(), Person())
        for each in [person, other] {
            try await tenant.insert(each.customer)
            _ = try await tenant.patch(each.id, #"{"status":"BLACKLISTED"}"#)
            _ = try await tenant.patch(each.id, #"{"status":"ACTIVE"}"#, ifMatch: "\"old\"")
            _ = try await tenant.patch(each.id, #"{"last_name":""}"#)
            try await tenant.insertDependent("transactions", of: each.id)
            _ = try await tenant.delete(each.id, headers: [("x-audit-reason", each.reason)])
        }
        let before = try await tenant.entries(about: other.id)

        _ = try await tenant.post("redact", person.id, reason: "GDPR")

        let entries = try await tenant.entries(about: person.id)
        #expect(entries.map { $0["outcome"] } == ["SUCCEEDED", "CONFLICT", "INVALID", "REFUSED", "SUCCEEDED"])
        for entry in entries.dropLast() {
            for column in ["before_image", "reason", "error_message", "subject_salt"] {
                #expect(entry[column] == nil, "\(column) of entry \(entry["seq"] ?? "?")")
            }
        }
        #expect(entries[3]["constraint_name"] == "transactions_belong_to_a_customer")
        let redaction = try #require(entries.last)
        #expect(redaction["action"] == "customer.redact")
        #expect(redaction["reason"] == "GDPR")
        #expect(redaction["before_image"] == nil)
        #expect(redaction["actor_client_key"] == tenant.key.clientKey)
        for (now, then) in zip(try await tenant.entries(about: other.id), before) {
            for column in ["before_image", "reason", "error_message", "subject_salt", "hash"] {
                #expect(now[column] == then[column])
            }
        }
        #expect(try await Trail.verify(stage.database).isClean)
    }

    @Test("twice is as good as once")
    func twice() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        let key = newID()

        let first = try await tenant.post("redact", person.id, key: key, reason: person.reason)
        let second = try await tenant.post("redact", person.id)
        let replay = try await tenant.post("redact", person.id, key: key)

        #expect([first, second, replay].map(\.status) == [200, 200, 200])
        #expect(second.body == first.body)
        #expect(replay.body == first.body)
        #expect(replay["idempotent-replayed"] == "true")
        try await stage.expectNoTrace(of: person)
        #expect(try await Trail.verify(stage.database).isClean)
    }

    @Test("every stored answer is replayed redacted: of updates, of a refusal, of bulk requests and their dry runs")
    func replays() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        let bystander = try await tenant.insert()
        try await tenant.insert(person.customer)
        let calls: [@Sendable (String) async throws -> HTTPAnswer] = [
            { try await tenant.patch(person.id, #"{"customer_type":"Startup"}"#, key: $0) },
            { try await tenant.setStatus(person.id, "BLACKLISTED", key: $0) },
            { try await tenant.post("archive", person.id, key: $0) },
            { try await tenant.post("unarchive", person.id, key: $0) },
            { try await tenant.bulkDelete([newIDs[0], person.id, bystander.id], dryRun: true, key: $0) },
            { try await tenant.bulkDelete([bystander.id, person.id, newIDs[1]], key: $0, reason: "leaving") },
            { try await tenant.delete(person.id, idempotencyKey: $0) },
        ]
        let keys = calls.map { _ in newID() }
        var answers: [HTTPAnswer] = []
        for (call, key) in zip(calls, keys) { answers.append(try await call(key)) }

        _ = try await tenant.post("redact", person.id)

        for ((call, key), answer) in zip(zip(calls, keys), answers) {
            let replay = try await call(key)
            #expect(replay["idempotent-replayed"] == "true")
            #expect(replay.status == answer.status)
            #expect(replay.body == person.redacted(answer.body))
        }
        #expect(answers.filter { !person.traces(in: $0.body).isEmpty }.count == 6)
        #expect(answers.map(\.status) == [200, 200, 200, 200, 200, 200, 404])
        try await stage.expectNoTrace(of: person)
    }

    @Test("a stored answer to a creation is replayed redacted")
    func replayedCreation() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        let body = CreationTests.body(["first_name": person.marks[0], "last_name": person.marks[1]])
        let key = newID()
        let created = try await tenant.create(body, key: key)

        _ = try await tenant.post("redact", try Record(created).id)
        let replay = try await tenant.create(body, key: key)

        #expect(replay.status == 201)
        #expect(try Record(replay).id == Record(created).id)
        #expect(person.traces(in: replay.body) == [])
        try await stage.expectNoTrace(of: person)
    }

    @Test("new data may come in afterwards, is kept, and goes with the next redaction")
    func newData() async throws {
        let tenant = try await stage.tenant()
        let (person, renamed) = (Person(), Person())
        try await tenant.insert(person.customer)
        let first = try await tenant.post("redact", person.id)
        _ = try await tenant.patch(person.id, #"{"first_name":"\#(renamed.marks[0])"}"#)
        let key = newID()

        let deletion = try await tenant.bulkDelete([person.id], key: key)
        let replay = try await tenant.bulkDelete([person.id], key: key)
        let image = try await tenant.entries(about: person.id).last?["before_image"]
        let second = try await tenant.post("redact", person.id)

        #expect(deletion.body.contains(renamed.marks[0]))
        #expect(replay.body == deletion.body, "the redaction before has nothing to do with it")
        #expect(image?.contains(renamed.marks[0]) == true)
        #expect(second.status == 200)
        #expect(first.status == 200)
        try await stage.expectNoTrace(of: renamed)
    }

    @Test("a second redaction that erases something moves updatedAt")
    func updatedAt() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        _ = try await tenant.post("redact", customer.id)
        let patched = try await tenant.patch(customer.id, #"{"first_name":"Again"}"#)
        let second = try await tenant.post("redact", customer.id)

        #expect(try Record(second).updatedAt > Record(patched).updatedAt)
    }

    @Test("the trail verifies at every moment of it")
    func verifies() async throws {
        let tenant = try await stage.tenant()
        let redact = { @Sendable () -> Trail? in
            let person = Person()
            try await tenant.insert(person.customer)
            _ = try await tenant.setStatus(person.id, "BLACKLISTED")
            _ = try await tenant.post("redact", person.id)
            _ = try await tenant.delete(person.id)
            return nil
        }
        let verify = { @Sendable () -> Trail? in try await Trail.verify(stage.database) }

        let reports = try await withThrowingTaskGroup(of: Trail?.self) { group in
            var reports: [Trail] = []
            group.addTask { try await redact() }
            group.addTask { try await verify() }
            // One of each at any time, however long either takes.
            for try await report in group {
                if let report { reports.append(report) }
                if reports.count < 5 { group.addTask { try await report == nil ? redact() : verify() } }
            }
            return reports
        }

        #expect(reports.count >= 2)
        #expect(reports.filter { !$0.isClean }.map(\.reason) == [])
        #expect(try await Trail.verify(stage.database).isClean)
    }

    @Test("reaches an id that only an entry without an image knows, and what was said about it there")
    func knownByEntryAlone() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        let deletion = try await tenant.delete(person.id, headers: [("x-audit-reason", person.reason)])
        try await stage.database.run("DELETE FROM service.attempts WHERE app_id = '\(tenant.app)'")

        let answer = try await tenant.post("redact", person.id)

        #expect(deletion.status == 404)
        #expect(answer.status == 200)
        #expect(answer.body.hasPrefix(#"{"id":"\#(person.id)","first_name":"[redacted]""#))
        try await stage.expectNoTrace(of: person)
        #expect(try await Trail.verify(stage.database, app: tenant.app).isClean)
    }

    @Test("finds nothing where no redaction could look: reasons and quoted bodies of requests about no one customer")
    func noCustomer() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        try await tenant.insertDependent("invoices", of: person.id)
        let answers = [
            try await tenant.bulkDelete([person.id], reason: person.reason),
            try await tenant.bulkDelete([person.id], dryRun: true, reason: person.reason),
            try await tenant.bulkDelete([person.id, person.id], reason: person.reason),
            try await tenant.create(#"{"\#(person.marks[0])":"\#(person.marks[1])"}"#),
            try await tenant.create(#"{"first_name":"x","\#(person.marks[0])":1}"#, key: newID()),
            try await tenant.ask(
                "POST", "", "[]", headers: [(name: "x-audit-reason", value: person.reason)]),
            try await tenant.delete("no-uuid", headers: [("x-audit-reason", person.reason)]),
        ]

        _ = try await tenant.post("redact", person.id)

        #expect(answers.map(\.status) == [200, 200, 400, 400, 400, 400, 400])
        #expect(try await tenant.entries().count == answers.count + 2, "one of an item as well")
        try await stage.expectNoTrace(of: person)
    }

    @Test("leaves no fingerprint from which a body could be guessed, and before it none without its salt")
    func fingerprints() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()
        let body = #"{"phone_number":"+4915112345678"}"#
        _ = try await tenant.patch(customer.id, body, key: key)
        let other = try await tenant.insert()
        _ = try await tenant.patch(other.id, body, key: newID())

        let before = try await fingerprints(of: [customer.id, other.id])
        let answer = try await tenant.post("redact", customer.id)
        let after = try await fingerprints(of: [customer.id, other.id])

        #expect(answer.status == 200)
        #expect(before.count == 2)
        #expect(Set(before.compactMap { $0["fingerprint"] }).count == 2, "the same body, two salts")
        #expect(Set(before.compactMap { $0["fingerprint_salt"] }).count == 2)
        #expect(after.compactMap { $0["fingerprint"] }.count == 1)
        // The key still answers for what was done under it, and for nothing else.
        #expect(try await tenant.patch(customer.id, body, key: key)["idempotent-replayed"] == "true")
    }

    private func fingerprints(of customers: [String]) async throws -> [[String: String]] {
        try await stage.database.rows(
            """
            SELECT fingerprint, fingerprint_salt FROM service.attempts
            WHERE customer_id = ANY ($1) AND action = 'customer.update'
            """,
            [.array(customers)])
    }

    @Test(
        "what comes behind it keeps its images and reasons, whatever the clocks of the instances say",
        .singleNode("Citus takes no STABLE function of a column in an UPDATE"))
    func afterwards() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.post("redact", customer.id)
        // As if the redaction had been decided by a clock that is ahead of those of what follows.
        try await stage.database.rows(
            "UPDATE service.redactions SET redacted_at = redacted_at + interval '10 seconds' WHERE app_id = $1",
            [.text(tenant.app)])

        let update = try await tenant.patch(customer.id, #"{"first_name":"Renamed"}"#)
        let key = newID()
        let deletion = try await tenant.delete(
            customer.id, idempotencyKey: key, headers: [("x-audit-reason", "because")])
        let replay = try await tenant.delete(customer.id, idempotencyKey: key)

        #expect([update, deletion, replay].map(\.status) == [200, 200, 200])
        #expect(replay.body == deletion.body)
        let entries = try await tenant.entries(about: customer.id)
        #expect(entries[2]["before_image"]?.contains("Renamed") == true)
        #expect(entries[2]["reason"] == "because")
        #expect(entries[1]["before_image"]?.contains("[redacted]") == true)
        #expect(try await Trail.verify(stage.database, app: tenant.app).isClean)
    }

    @Test("what looks like a redaction but isn't one is refused, to a superuser too")
    func mimicry() async throws {
        let tenant = try await stage.tenant()
        let (person, other) = (Person(), Person())
        for each in [person, other] {
            try await tenant.insert(each.customer)
            _ = try await tenant.setStatus(each.id, "BLACKLISTED")
        }
        _ = try await tenant.post("redact", person.id)
        let erasure = "SET before_image = NULL, reason = NULL, error_message = NULL, subject_salt = NULL"

        for customer in [person.id, other.id] {
            let state = try await stage.database.sqlstate(
                "UPDATE audit.entries \(erasure) WHERE customer_id = '\(customer)'", as: "postgres")
            #expect(state == "42501")
        }
        let unerased = try await tenant.entries(about: other.id)
        #expect(unerased.first?["before_image"] != nil)
    }
}

private let newIDs = [newID(), newID()]
