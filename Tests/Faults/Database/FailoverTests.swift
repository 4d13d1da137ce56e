import Foundation
import LibPQ
import TestSupport
import Testing

/// Two clusters, of which one takes over from the other.
@Suite("Failover", .serialized, .stages)
struct FailoverTests {
    @Test("a primary that turns read-only is left for the other, whose connections are all new")
    func readOnly() async throws {
        let pair = try await ReplicatedPair.start(isSynchronous: false)
        let scene = try await OutageScene.open(
            in: .pair(pair), through: .url { pair.url(database: $0) })
        let customers = try await scene.tenant.insert(count: 12)
        let before = try await scene.tenant.delete(customers[0])

        // As a switchover goes: the old primary takes no more writes, the standby has them all and takes over.
        try await pair.primary.set("default_transaction_read_only", "on")
        let readOnly = try await timed { try await scene.tenant.delete(customers[1]) }
        try await pair.waitUntilEven()
        let isReady = try await scene.service.isReady
        try await pair.standby.promote()
        var (answers, refusals) = ([HTTPAnswer](), 0)
        for customer in customers.dropFirst() {
            let key = newID()
            try await eventually("\(customer) was deleted") {
                let answer = try await scene.tenant.delete(customer, idempotencyKey: key)
                if answer.status == 503 { refusals += 1 } else { answers.append(answer) }
                return answer.status != 503
            }
        }

        #expect(before.status == 200)
        scene.expectUnavailable(readOnly.value, after: readOnly.elapsed)
        #expect(!isReady, "a service that can't write isn't ready")
        #expect(answers.map(\.status) == customers.dropFirst().map { _ in 200 })
        let old = scene.database
        scene.stage.move(to: pair.standby)
        let database = scene.database
        let succeeded = try await database.entries(app: scene.tenant.app).filter { $0["outcome"] == "SUCCEEDED" }
        #expect(succeeded.compactMap { $0["customer_id"] } == customers)
        #expect(try await database.value("SELECT count(*) FROM customers") == "0")
        #expect(try await old.value("SELECT count(*) FROM customers") == "11", "nothing went to the old one")
        print("read-only failover: \(refusals) requests got a 503 after the promotion")
    }

    @Test("a synchronous standby that is promoted under load has every answer that was given")
    func promotedUnderLoad() async throws {
        let pair = try await ReplicatedPair.start(isSynchronous: true)
        let scene = try await OutageScene.open(
            in: .pair(pair), through: .url { pair.url(database: $0) })
        let load = try await Load(tenant: scene.tenant, customers: 300)
        let place = FileManager.default.temporaryDirectory.appendingPathComponent("failover-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: place) }
        let (signer, checkpoint) = ("\(place.path)/key", "\(place.path)/checkpoint")
        try await Customerd.succeed(["audit", "keygen", "--name", "example.com/trail", "--key", signer])

        async let run: Void = load.run(clients: 8)
        try await eventually("the load went on") { load.answered >= 60 }
        try await scene.database.customerd(["audit", "checkpoint", "--key", signer, "--out", checkpoint])
        try await eventually("the load went on") { load.answered >= 100 }
        try await aside { try pair.primary.stop(mode: "immediate") }
        let (_, failover) = try await timed {
            try await eventually("requests were refused") { load.count(of: 503) > 0 }
            try await pair.standby.promote()
            let answered = load.answered
            try await eventually("the service was back", within: .seconds(40)) { load.answered > answered + 8 }
        }
        try await run

        scene.stage.move(to: pair.standby)
        let database = scene.database
        #expect(try await load.untruths(in: database) == [])
        #expect(try await Trail.verify(database, checkpoint: checkpoint).isClean)
        print("promotion under load: \(load.count(of: 503)) requests got a 503; back after \(failover)")
    }
}
