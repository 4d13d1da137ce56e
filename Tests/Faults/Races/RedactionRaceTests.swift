import LibPQ
import TestSupport
import Testing

/// Redaction while something else is under way about the same customer.
@Suite(
    "A redaction that meets another request",
    .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "30", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]))
struct RedactionRaceTests {
    let stage = Stage.current

    @Test("leaves nothing behind in 20 rounds with deletions, updates, refusals and bulk requests", arguments: 1...20)
    func rounds(round: Int) async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        if round.isMultiple(of: 2) { try await tenant.insertDependent("invoices", of: person.id) }
        let calls: [@Sendable () async throws -> HTTPAnswer] = [
            { try await tenant.delete(person.id, headers: [("x-audit-reason", person.reason)]) },
            { try await tenant.delete(person.id) },
            { try await tenant.setStatus(person.id, "BLACKLISTED", key: newID()) },
            { try await tenant.patch(person.id, #"{"customer_type":"Startup"}"#, ifMatch: "\"old\"") },
            { try await tenant.bulkDelete([newID(), person.id], dryRun: true) },
            { try await tenant.bulkDelete([person.id, newID()]) },
            { try await tenant.post("restore", person.id) },
            { try await tenant.post("redact", person.id) },
        ]

        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for call in calls.shuffled() { group.addTask { try await call().status } }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        var redaction = try await tenant.post("redact", person.id)
        if redaction.status == 503 { redaction = try await tenant.post("redact", person.id) }

        #expect(statuses.isSubset(of: [200, 400, 404, 409, 412, 503]))
        #expect(redaction.status == 200)
        try await stage.expectNoTrace(of: person)
    }

    @Test("alone, without a second one, leaves nothing of what it met", arguments: 1...6)
    func once(round: Int) async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        if round.isMultiple(of: 2) { try await tenant.insertDependent("invoices", of: person.id) }

        // Without a reason: one that arrives after the redaction would rightly be kept.
        async let deletion = tenant.delete(person.id)
        async let update = tenant.setStatus(person.id, "BLACKLISTED")
        async let check = tenant.bulkDelete([person.id], dryRun: true)
        async let bulk = tenant.bulkDelete([person.id])
        async let redaction = tenant.post("redact", person.id)
        _ = try await (deletion, update, check, bulk)

        try #require(try await redaction.status == 200)
        try await stage.expectNoTrace(of: person)
    }

    @Test("two at one time are both done")
    func two() async throws {
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        _ = try await tenant.setStatus(person.id, "BLACKLISTED")

        async let first = tenant.post("redact", person.id)
        async let second = tenant.post("redact", person.id)
        let answers = try await [first, second]

        #expect(answers.map(\.status) == [200, 200])
        #expect(answers[0].body == answers[1].body)
        try await stage.expectNoTrace(of: person)
    }
}
