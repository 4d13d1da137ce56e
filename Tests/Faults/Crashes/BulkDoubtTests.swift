import LibPQ
import TestSupport
import Testing

@Suite("A bulk request with an item in doubt", .serialized, .stages)
struct BulkDoubtTests {
    @Test("is free for a retry before the lease of the whole is over")
    func retry() async throws {
        let stage = try await Stage.open(
            [
                "CUSTOMERD_PREPARE_STATEMENTS": "0", "CUSTOMERD_RATE_LIMIT": "1000000",
                "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "3",
            ], through: .gate)
        let tenant = try await stage.tenant()
        let customers = [try await tenant.insert().id, try await tenant.insert().id]
        let key = newID()
        let sighting = stage.gate.holdReplies(whenRequestContains: "service.finish(")

        async let doubtful = tenant.bulkDelete(customers, key: key)
        await sighting.wait()
        let first = try await doubtful
        let lease = try await stage.database.lease(of: key)
        stage.cut()
        var last: HTTPAnswer?
        try await eventually("the bulk request was answered", within: .seconds(30)) {
            let answer = try await tenant.bulkDelete(customers, key: key)
            last = answer
            return ![409, 503].contains(answer.status)
        }

        let final = try #require(last)
        #expect(first.status == 503)
        #expect(final.status == 200)
        #expect(Set(try BulkResults(final).statuses) == [200])
        #expect(try await stage.database.wasAsked(final, before: lease))
        for customer in customers {
            #expect(try await tenant.entries(about: customer).filter { $0["outcome"] == "SUCCEEDED" }.count == 1)
        }
    }
}
