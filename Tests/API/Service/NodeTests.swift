import LibPQ
import TestSupport
import Testing

/// What holds where the tables are distributed over several nodes: `scripts/test --citus`.
@Suite("On several nodes", .unlimitedStage(), .enabled(if: PrivateCluster.isDistributed))
struct NodeTests {
    let stage = Stage.current

    @Test("whatever is done to an app's customers commits on one node, without a second phase")
    func onePhase() async throws {
        var tenants: [String: Tenant] = [:]
        while tenants.count < 2 {
            let tenant = try await stage.tenant()
            let home = try await stage.database.value("SELECT service.home($1)", [.text(tenant.app)])
            tenants[try #require(home)] = tenant
        }
        // Making a key does take two phases: every node has a copy.
        let before = try await recordedTransactions()

        for tenant in tenants.values { try await changeEverything(tenant) }

        let after = try await recordedTransactions()
        #expect(after.subtracting(before) == [])
    }

    /// What nodes note of each transaction that commits in two phases.
    private func recordedTransactions() async throws -> Set<String> {
        var transactions: Set<String> = []
        let cluster = stage.database.cluster
        for node in [cluster] + cluster.nodes {
            let rows = try await node.psql("SELECT gid FROM pg_dist_transaction", database: stage.database.name)
            transactions.formUnion(rows.split(separator: "\n").map(String.init))
        }
        return transactions
    }

    private func changeEverything(_ tenant: Tenant) async throws {
        let body = #"{"first_name":"Ada","last_name":"King","phone_number":"1"}"#
        var customers: [String] = []
        for _ in 1...6 {
            let made = try await tenant.create(body)
            #expect(made.status == 201)
            customers.append(try Record(made).id)
        }
        let (one, other) = (customers[0], customers[1])
        #expect(try await tenant.patch(one, #"{"last_name":"Lovelace"}"#).status == 200)
        #expect(try await tenant.post("archive", one).status == 200)
        #expect(try await tenant.post("unarchive", one).status == 200)
        #expect(try await tenant.ask("PUT", "/\(one)/hold", #"{"reason":"Lawsuit"}"#).status == 200)
        #expect(try await tenant.delete(one).status == 400)
        #expect(try await tenant.ask("DELETE", "/\(one)/hold").status == 200)
        let at = try #require(try await stage.database.value("SELECT service.rfc3339(now() + interval '1 day')"))
        #expect(try await tenant.ask("PUT", "/\(one)/scheduled-deletion", #"{"at":"\#(at)"}"#).status == 202)
        #expect(try await tenant.ask("DELETE", "/\(one)/scheduled-deletion").status == 200)
        let key = newID()
        #expect(try await tenant.delete(one, idempotencyKey: key).status == 200)
        #expect(try await tenant.delete(one, idempotencyKey: key)["idempotent-replayed"] == "true")
        #expect(try await tenant.delete(one).status == 404)
        #expect(try await tenant.post("redact", other).status == 200)
        #expect(try await tenant.bulkDelete([other, customers[2]]).status == 200)
        let bulk = try await tenant.startBulk(Array(customers[3...]))
        let state = try await tenant.finishBulk(try #require(bulk["location"]))
        #expect(state.contains(#""deleted":3"#))
    }
}
