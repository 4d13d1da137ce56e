import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("A large bulk deletion", .unlimitedStage(["CUSTOMERD_BULK_PER_SECOND": "500"]))
struct LargeBulkTests {
    let stage = Stage.current

    struct Line: Decodable, Equatable {
        var id: String
        var statusCode: Int?
        var message: String?
        var entry: String?
    }

    private func results(_ tenant: Tenant, _ path: String) async throws -> [Line] {
        let answer = try await tenant.get("\(path)/results")
        #expect(answer.status == 200 && answer["content-type"] == "application/x-ndjson")
        return try answer.body.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
    }

    @Test("deletes, refuses and doesn't find, and says so in the order asked, each item with its entry")
    func mixed() async throws {
        let tenant = try await stage.tenant()
        var customers = try await tenant.insert(count: 120)
        for customer in customers.prefix(10) { try await tenant.insertDependent("invoices", of: customer) }
        customers += (0..<5).map { _ in newID() }
        customers.shuffle()

        let (answer, key) = (try await tenant.startBulk(customers, reason: "Closing down"), newID())
        let path = try #require(answer["location"], "\(answer)")
        let state = try await tenant.finishBulk(path)

        #expect(
            try answer.status == 202 && path == "/api/v0/bulk-deletions/\(try answer.object["id"] as? String ?? "")")
        #expect(
            answer.body.hasSuffix(
                #""status":"RUNNING","total":125,"deleted":0,"refused":0,"not_found":0,"failed":0}"#), "\(answer)")
        #expect(
            state.hasSuffix(
                #""status":"DONE","total":125,"deleted":110,"refused":10,"not_found":5,"failed":0}"#), "\(state)")
        #expect(try await tenant.customerCount() == "10")
        let lines = try await results(tenant, path)
        #expect(lines.map(\.id) == customers)
        let entries = try await tenant.entries()
        for line in lines {
            let entry = try #require(entries.first { $0["id"] == line.entry })
            #expect(entry["customer_id"] == line.id && entry["status_code"] == line.statusCode.map { "\($0)" })
            #expect(entry["action"] == "customer.delete" && entry["reason"] == "Closing down")
            #expect(entry.request("bulk").map { path.hasSuffix($0) } == true)
            let message = [400: "Customer cannot be deleted.", 404: "Customer not found"][line.statusCode ?? 0]
            #expect(line.message == message)
        }
        let own = try #require(entries.first { $0["action"] == "deletion.bulk" })
        #expect(own["outcome"] == "SUCCEEDED" && own["status_code"] == "202" && own["reason"] == nil)
        #expect(own.request("ids") == "125")
        #expect(try await tenant.get("/api/v0/bulk-deletions/\(key)").message == "Bulk deletion not found")
        #expect(
            try await stage.database.value(
                "SELECT count(*) FROM service.bulk_deletions WHERE app_id = $1 AND reason IS NOT NULL",
                [.text(tenant.app)]) == "0")
    }

    @Test("isn't delayed by another app's, whose customers are locked")
    func besideLockedCustomers() async throws {
        let (other, tenant) = (try await stage.tenant(), try await stage.tenant())
        let (locked, free) = (try await other.insert(count: 40), try await tenant.insert(count: 40))
        let holder = try await stage.database.begin("SELECT FROM customers WHERE app_id = '\(other.app)' FOR UPDATE")
        let first = try #require(try await other.startBulk(locked)["location"])
        try await stage.database.waitUntilBlocked()

        let second = try #require(try await tenant.startBulk(free)["location"])
        let state = try await tenant.finishBulk(second)
        let meanwhile = try await other.customerCount()
        try await holder.rollBack()

        #expect(state.contains(#""deleted":40"#) && meanwhile == "40")
        #expect(try await other.finishBulk(first).contains(#""deleted":40"#))
    }

    @Test("in a dry run deletes nothing, leaves no entries of items, and tells what would be")
    func dryRun() async throws {
        let tenant = try await stage.tenant()
        let (free, billed) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("invoices", of: billed.id)
        let missing = newID()

        let path = try #require(try await tenant.startBulk([billed.id, missing, free.id], dryRun: true)["location"])
        let state = try await tenant.finishBulk(path)

        #expect(state.hasSuffix(#""total":3,"deleted":1,"refused":1,"not_found":1,"failed":0}"#))
        #expect(try await results(tenant, path).map(\.statusCode) == [400, 404, 200])
        #expect(try await tenant.customerCount() == "2")
        #expect(try await tenant.entries().map { $0["action"] } == ["deletion.bulk"])
    }

    @Test("takes 10,000 ids, and no more")
    func size() async throws {
        let tenant = try await stage.tenant()
        let ids = (0..<10_001).map { _ in newID() }

        let tooMany = try await tenant.startBulk(ids)
        let accepted = try await tenant.startBulk(Array(ids.dropLast()))
        let path = try #require(accepted["location"])
        let cancelled = try await tenant.send(
            HTTPCall("DELETE", path, headers: tenant.key.headers))

        #expect(try tooMany.message == "ids must hold 1 to 10000 UUIDs")
        #expect(accepted.status == 202 && accepted.body.contains(#""total":10000,"#))
        #expect(cancelled.status == 200 && cancelled.body.contains(#""status":"CANCELLED""#), "\(cancelled)")
        #expect(try await results(tenant, path).map(\.id) == Array(ids.dropLast()))
    }

    @Test("reads a large body only of those who may ask")
    func strangers() async throws {
        let tenant = try await stage.tenant()
        let viewer = tenant.with(try await stage.database.createKey(app: tenant.app, role: "viewer"))
        var key = tenant.key
        key.secret = "cs_\(newID())"
        let ids = (0..<10_000).map { _ in "as long as a UUID, but it is not one" }

        #expect(try await tenant.startBulk(ids).status == 400)
        #expect(try await viewer.startBulk(ids).status == 403)
        #expect(try await tenant.with(key).startBulk(ids).status == 401)
        let tooLarge = try await tenant.startBulk((0..<20_000).map { _ in newID() })
        #expect(tooLarge.body == HTTPAnswer.error(413, "Request body is larger than 512 KiB", "Payload Too Large"))
        #expect(try await tenant.outcomes() == ["INVALID", "FORBIDDEN"])
    }

    @Test(
        "an invalid one is a 400",
        arguments: [
            (#"{"ids":[]}"#, "ids must hold 1 to 10000 UUIDs"), ("{}", "ids must be an array of UUIDs"),
            (
                #"{"ids":["550e8400-e29b-41d4-a716-446655440000","550E8400-E29B-41D4-A716-446655440000"]}"#,
                "ids must not hold the same UUID twice"
            ),
            (#"{"ids":["550e8400-e29b-41d4-a716-446655440000"],"dry_run":1}"#, "dry_run must be true or false"),
            (#"{"ids":["550e8400-e29b-41d4-a716-446655440000"],"reason":" "}"#, "reason must not be blank"),
        ])
    func invalid(body: String, message: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.send(
            HTTPCall(
                "POST", "/api/v0/bulk-deletions", headers: tenant.key.headers + [("idempotency-key", newID())],
                body: body))
        let keyless = try await tenant.send(
            HTTPCall("POST", "/api/v0/bulk-deletions", headers: tenant.key.headers, body: body))

        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
        #expect(try keyless.message == "idempotency-key header is required")
    }

    @Test("is replayed with its key, location included")
    func replay() async throws {
        let tenant = try await stage.tenant()
        let (customers, key) = (try await tenant.insert(count: 3), newID())

        let first = try await tenant.startBulk(customers, key: key)
        _ = try await tenant.finishBulk(try #require(first["location"], "\(first)"))
        let second = try await tenant.startBulk(customers, key: key)

        #expect(second.status == 202 && second.body == first.body && second["location"] == first["location"])
        #expect(second["idempotent-replayed"] == "true")
        #expect(try await tenant.startBulk(customers + [newID()], key: key).status == 422)
    }

    @Test("is listed, the newest first, page by page, filtered by status, with who began it, own app only")
    func list() async throws {
        let (tenant, other) = (try await stage.tenant(name: "cleaner"), try await stage.tenant())
        let customer = try await tenant.insert()
        var paths: [String] = []
        for number in 1...5 {
            let path = try #require(
                try await tenant.startBulk([customer.id, newID()], dryRun: number < 5)["location"])
            _ = try await tenant.finishBulk(path)
            paths.append(path)
        }
        _ = try await other.startBulk([newID()])
        func page(_ query: String) async throws -> (paths: [String], cursor: String?) {
            let answer = try await tenant.get("/api/v0/bulk-deletions?\(query)")
            #expect(answer.status == 200, "\(answer)")
            let items = try answer.object["data"] as? [[String: Any]] ?? []
            return (
                items.map { "/api/v0/bulk-deletions/\($0["id"] as? String ?? "")" },
                try answer.object["next_cursor"] as? String
            )
        }

        let first = try await page("limit=2")
        let second = try await page("limit=2&cursor=\(try #require(first.cursor))")
        let third = try await page("limit=2&cursor=\(try #require(second.cursor))&status=DONE")

        #expect(first.paths + second.paths + third.paths == paths.reversed() && third.cursor == nil)
        #expect(try await page("status=RUNNING").paths == [])
        let newest = try await tenant.get("/api/v0/bulk-deletions?limit=1").body
        let state = try await tenant.get(paths[4]).body.dropLast()
        #expect(newest.hasPrefix(#"{"data":[\#(state),"dry_run":false,"created_at":"20"#), "\(newest)")
        #expect(newest.contains(#"Z","created_by":"cleaner"}],"next_cursor":"#), "\(newest)")
        for (query, name) in [("status=GONE", "status"), ("cursor=x", "cursor"), ("limit=0", "limit")] {
            let answer = try await tenant.get("/api/v0/bulk-deletions?\(query)")
            #expect(answer.status == 400 && answer.body.contains(name))
        }
    }

    @Test("is its app's alone")
    func foreign() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        let path = try #require(try await tenant.startBulk([newID()])["location"])

        for (method, path) in [("GET", path), ("GET", "\(path)/results"), ("DELETE", path)] {
            let answer = try await other.send(HTTPCall(method, path, headers: other.key.headers))
            #expect(answer.body == HTTPAnswer.error(404, "Bulk deletion not found", "Not Found"))
        }
    }
}

/// With a database of its own, since it locks a whole table.
@Suite("A large bulk deletion whose key is revoked", .unlimitedStage(["CUSTOMERD_BULK_PER_SECOND": "500"]))
struct LargeBulkRevocationTests {
    let stage = Stage.current

    @Test("stops: what is left fails as forbidden, each with its entry")
    func revoked() async throws {
        let tenant = try await stage.tenant()
        let doomed = tenant.with(try await stage.database.createKey(app: tenant.app, name: "doomed"))
        let customers = try await tenant.insert(count: 5)
        let lock = try await stage.database.begin(
            "LOCK TABLE service.bulk_items IN EXCLUSIVE MODE")
        async let asking = doomed.startBulk(customers)
        try await stage.database.waitUntilBlocked()
        try await stage.database.rows(
            "UPDATE service.api_keys SET revoked_at = now() WHERE client_key = $1", [.text(doomed.key.clientKey)])
        try await lock.rollBack()
        let path = try #require(try await asking["location"])

        let state = try await tenant.finishBulk(path)

        #expect(state.hasSuffix(#""total":5,"deleted":0,"refused":0,"not_found":0,"failed":5}"#))
        #expect(try await tenant.customerCount() == "5")
        try await eventually("each item had its entry") {
            try await tenant.entries().count { $0["outcome"] == "FORBIDDEN" } == 5
        }
    }
}

/// The rate that operators set.
@Suite("The rate of large bulk deletions", .unlimitedStage(["CUSTOMERD_BULK_PER_SECOND": "20"]))
struct LargeBulkRateTests {
    @Test("is kept")
    func rate() async throws {
        let tenant = try await Stage.current.tenant()
        let customers = try await tenant.insert(count: 60)

        let start = ContinuousClock.now
        let path = try #require(try await tenant.startBulk(customers)["location"])
        _ = try await tenant.finishBulk(path)

        // All but the last batch are followed by their pause.
        #expect(ContinuousClock.now - start > .milliseconds(2500))
    }
}
