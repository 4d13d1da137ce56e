import TestSupport
import Testing

/// Many at once.
@Suite("Simultaneous requests", .stage(["CUSTOMERD_RATE_LIMIT": "1000"]))
struct ConcurrencyTests {
    let stage = Stage.current

    @Test("50 deletions of one customer with different keys: one 200, 49 times 404, 50 entries")
    func differentKeys() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answers = try await simultaneously(50) { _ in try await tenant.delete(customer.id) }

        #expect(answers.filter { $0.status == 200 }.map(\.body) == [customer.record(app: tenant.app)])
        #expect(answers.filter { $0.status == 404 }.count == 49)
        let entries = try await tenant.entries()
        #expect(entries.count == 50)
        #expect(entries.filter { $0["outcome"] == "SUCCEEDED" }.count == 1)
        #expect(entries.filter { $0["outcome"] == "NOT_FOUND" }.count == 49)
        #expect(entries.map { $0["seq"] } == (1...50).map { String($0) })
        #expect(Set(entries.map { $0["request_id"] }) == Set(answers.map { $0["x-request-id"] }))
    }

    @Test("50 deletions with one key: one effect, one answer")
    func sameKey() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let key = newID()

        let answers = try await simultaneously(50) { _ in try await tenant.delete(customer.id, idempotencyKey: key) }

        let firsts = answers.filter { $0.status == 200 && $0["idempotent-replayed"] == nil }
        let replays = answers.filter { $0.status == 200 && $0["idempotent-replayed"] == "true" }
        let conflicts = answers.filter { $0.status == 409 }
        #expect(firsts.map(\.body) == [customer.record(app: tenant.app)])
        #expect(replays.allSatisfy { $0.body == firsts.first?.body })
        #expect(conflicts.allSatisfy { $0["retry-after"] != nil })
        #expect(firsts.count + replays.count + conflicts.count == 50)
        let entries = try await tenant.entries()
        #expect(entries.filter { $0["outcome"] == "SUCCEEDED" }.count == 1)
        #expect(entries.filter { $0["outcome"] == "REPLAYED" }.count == replays.count)
        #expect(entries.filter { $0["outcome"] == "CONFLICT" }.count == conflicts.count)
        #expect(entries.count == 50)
    }

    @Test("two instances share keys, customers and the chain")
    func twoInstances() async throws {
        let tenant = try await stage.tenant()
        let second = try await stage.secondService()
        let customers = try await tenant.insert(count: 20)

        let answers = try await simultaneously(40) { index in
            let instance = index.isMultiple(of: 2) ? tenant : tenant.through(second)
            return try await instance.delete(customers[index / 2])
        }
        second.terminate()

        #expect(answers.filter { $0.status == 200 }.count == 20)
        #expect(answers.filter { $0.status == 404 }.count == 20)
        #expect(try await tenant.entries().map { $0["seq"] } == (1...40).map { String($0) })
        #expect(try await Trail.verify(stage.database, app: tenant.app).isClean)
        #expect(await second.exitStatus(within: .seconds(20)) == 0)
    }

    @Test("every answered request of a mixed load is in the trail once, with its own status")
    func mixedLoad() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 60)
        for customer in customers.prefix(20) { try await tenant.insertDependent("invoices", of: customer) }
        let keys = customers.map { _ in newID() }

        let answers = try await simultaneously(240) { index in
            let customer = index % 60
            switch index / 60 {
            case 0: return try await tenant.delete(customers[customer], idempotencyKey: keys[customer])
            case 1: return try await tenant.delete(customers[customer], idempotencyKey: keys[customer])
            case 2: return try await tenant.delete(customers[customer])
            default: return try await tenant.delete("no-uuid-\(customer)")
            }
        }

        let entries = Dictionary(grouping: try await tenant.entries()) { $0["request_id"] ?? "" }
        for answer in answers {
            let recorded = entries[answer["x-request-id"] ?? "none"] ?? []
            #expect(recorded.count == 1)
            #expect(recorded.first?["status_code"] == "\(answer.status)")
        }
        #expect(entries.count == 240)
        #expect(!answers.contains { $0.status >= 500 })
    }
}
