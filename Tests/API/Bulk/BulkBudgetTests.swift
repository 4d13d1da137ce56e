import TestSupport
import Testing

@Suite("A bulk request and the rate limit", .unlimitedStage(["CUSTOMERD_RATE_LIMIT": "10"]))
struct BulkBudgetTests {
    let stage = Stage.current

    @Test("costs one an item, and does nothing when that is too much")
    func budget() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 4)
        for _ in 1...7 { _ = try await tenant.delete(newID()) }

        let tooMuch = try await tenant.bulkDelete(customers)
        let count = try await tenant.customerCount()
        let enough = try await tenant.bulkDelete(Array(customers.prefix(3)))
        let spent = try await tenant.delete(newID())

        #expect([tooMuch, enough, spent].map(\.status) == [429, 200, 429])
        #expect(tooMuch.body == HTTPAnswer.error(429, "Rate limit exceeded", "Too Many Requests"))
        #expect(tooMuch["retry-after"] != nil)
        #expect([tooMuch, enough, spent].map { $0["x-ratelimit-remaining"] } == ["3", "0", "0"])
        #expect(count == "4")
        #expect(try await tenant.customerCount() == "1")
        let entries = try await tenant.entries().filter { $0["outcome"] == "RATE_LIMITED" }
        #expect(entries.map { $0["action"] } == ["customer.bulk-delete", "customer.delete"])
    }

    @Test("a dry run and a replay cost as much")
    func dryRun() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 3)
        let key = newID()

        let answers = [
            try await tenant.bulkDelete(customers, dryRun: true),
            try await tenant.bulkDelete(customers, key: key),
            try await tenant.bulkDelete(customers, key: key),
        ]

        #expect(answers.map { $0["x-ratelimit-remaining"] } == ["7", "4", "1"])
    }

    @Test("more than a whole budget is never possible, and is told so instead of to come again")
    func neverPossible() async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.bulkDelete((1...11).map { _ in newID() })

        #expect(answer.status == 400)
        #expect(answer["retry-after"] == nil)
        #expect(answer.body.contains("at most 10"))
    }
}
