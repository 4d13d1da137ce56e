import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("Events", .unlimitedStage(["CUSTOMERD_RESTORE_DAYS": "1"]))
struct EventTests {
    private static let path = "/api/v0/events"
    private let stage = Stage.current

    @Test("every kind of success is an event of its type, and so is a refused deletion")
    func types() async throws {
        let tenant = try await stage.tenant(name: "back office")
        let created = try await tenant.create(#"{"first_name":"Ann","last_name":"Lee","phone_number":"1"}"#)
        let id = try #require(try created.object["id"] as? String)
        _ = try await tenant.patch(id, #"{"first_name":"Anne"}"#)
        _ = try await tenant.setStatus(id, "BLACKLISTED")
        _ = try await tenant.post("archive", id)
        _ = try await tenant.post("unarchive", id)
        try await tenant.insertDependent("invoices", of: id)
        _ = try await tenant.delete(id)
        try await tenant.database.run("DELETE FROM invoices WHERE app_id = '\(tenant.app)'")
        _ = try await tenant.delete(id)
        _ = try await tenant.post("restore", id)
        let year = try #require(Calendar(identifier: .gregorian).dateComponents([.year], from: Date()).year) + 1
        let schedule = #"{"at":"\#(year)-06-01T00:00:00Z"}"#
        #expect(try await tenant.ask("PUT", "/\(id)/scheduled-deletion", schedule).status == 202)
        #expect(try await tenant.ask("DELETE", "/\(id)/scheduled-deletion").status == 200)
        _ = try await tenant.bulkDelete([id])
        _ = try await tenant.post("redact", id)
        _ = try await tenant.ask("GET", "/\(id)/export")

        let answer = try await tenant.get(Self.path)

        #expect(
            try answer.column("type") == [
                "customer.created", "customer.updated", "customer.status_changed", "customer.archived",
                "customer.unarchived", "customer.deletion_refused", "customer.deleted", "customer.restored",
                "customer.deletion_scheduled", "customer.deletion_cancelled", "customer.deleted", "customer.redacted",
            ])
        #expect(try answer.column("customer_id").allSatisfy { $0 == id })
        let entries = try await tenant.entries()
        #expect(try answer.object["next_after"] as? Int == entries.count)
    }

    @Test("an event has its members in order, and nothing personal")
    func members() async throws {
        let tenant = try await stage.tenant(name: "back office")
        let customer = try await tenant.insert()
        _ = try await tenant.delete(
            customer.id,
            headers: [("x-actor-id", "bob@example.com"), ("x-audit-reason", "a reason"), ("x-request-id", "r-1")])

        let answer = try await tenant.get(Self.path)

        let entry = try #require(try await tenant.entries().first)
        let time = try #require(
            try await tenant.database.value("SELECT service.rfc3339($1::timestamptz)", [.text(entry["occurred_at"])]))
        #expect(
            answer.body == """
                {"data":[{"type":"customer.deleted","id":"\(entry["id"] ?? "")","seq":1,"occurred_at":"\(time)",\
                "app_id":"app_\(tenant.app)","customer_id":"\(customer.id)","actor":"back office",\
                "request_id":"r-1"}],"next_after":1}
                """)
    }

    @Test("what changed nothing is no event, but moves the reader on")
    func silence() async throws {
        let tenant = try await stage.tenant()
        for _ in 1...3 { _ = try await tenant.delete(newID()) }

        #expect(try await tenant.get(Self.path).body == #"{"data":[],"next_after":3}"#)
        #expect(try await tenant.get(Self.path, [("after", "2")]).body == #"{"data":[],"next_after":3}"#)
        #expect(try await tenant.get(Self.path, [("after", "9")]).body == #"{"data":[],"next_after":9}"#)
    }

    @Test("an app without a chain has no events")
    func empty() async throws {
        #expect(try await stage.tenant().get(Self.path).body == #"{"data":[],"next_after":0}"#)
    }

    @Test("pages lead through the chain without gap or repetition, past long stretches without events")
    func pages() async throws {
        let tenant = try await stage.tenant()
        let deletions = [1, 2, 3, 2_500, 2_501, 4_000]
        try await tenant.forgeChain(length: 4_200, deletions: deletions)

        var found: [String?] = []
        var (after, calls) = (0, 0)
        while true {
            let page = try await tenant.get(Self.path, [("after", "\(after)"), ("limit", "2")])
            found += try page.column("seq")
            let next = try #require(try page.object["next_after"] as? Int)
            calls += 1
            guard next > after else { break }
            after = next
        }

        #expect(found == deletions.map { "\($0)" })
        #expect(after == 4_200)
        #expect(calls <= 10)
    }

    @Test("an app hears of its own events alone")
    func tenants() async throws {
        let (tenant, other) = (try await stage.tenant(), try await stage.tenant())
        _ = try await other.delete(try await other.insert().id)

        #expect(try await tenant.get(Self.path).body == #"{"data":[],"next_after":0}"#)
        let waited = try await tenant.get(Self.path, [("wait", "1")])
        #expect(waited.body == #"{"data":[],"next_after":0}"#)
    }

    @Test("reading needs audit:read", arguments: KeyRole.allCases)
    func roles(role: KeyRole) async throws {
        let tenant = try await stage.tenant(role: role.rawValue)

        let answer = try await tenant.get(Self.path)

        #expect(answer.status == (role.permissions.contains("audit:read") ? 200 : 403))
    }

    static let refusals: [(query: String, message: String)] = [
        ("limit=0", "limit must be a whole number from 1 to 100"),
        ("limit=101", "limit must be a whole number from 1 to 100"),
        ("wait=31", "wait must be a whole number from 0 to 30"),
        ("wait=-1", "wait must be a whole number from 0 to 30"),
        ("after=-1", "after must be a whole number from 0 to 9007199254740991"),
        ("after=9007199254740992", "after must be a whole number from 0 to 9007199254740991"),
        ("after=1&after=2", "after must be given once"),
    ]

    @Test("a parameter out of range is a 400 that names it", arguments: refusals)
    func refused(query: String, message: String) async throws {
        let tenant = try await stage.tenant()

        for accept in ["application/json", "text/event-stream"] {
            let call = HTTPCall(
                "GET", "\(Self.path)?\(query)", headers: tenant.key.headers + [("accept", accept)])
            #expect(try await tenant.send(call).body == HTTPAnswer.error(400, message, "Bad Request"))
        }
    }

    @Test("HEAD isn't answered, since a stream has no end")
    func head() async throws {
        #expect(try await HTTPCall("HEAD", Self.path).send(to: stage.service.port).status == 405)
    }

    // MARK: - Waiting

    @Test("an event ends the wait, whichever instance wrote it", arguments: [false, true])
    func waiting(isOtherInstance: Bool) async throws {
        let tenant = try await stage.tenant()
        let writer = isOtherInstance ? tenant.through(try await stage.secondService()) : tenant
        let customer = try await tenant.insert()
        async let waited = tenant.get(Self.path, [("wait", "30")])
        // Not only the one that waits is woken, so a stream that has begun proves nothing; but it makes the wait likely.
        let reader = EventStreamReader(tenant)
        try await eventually("both listen") { reader.comments == 1 }
        let start = ContinuousClock.now
        _ = try await writer.delete(customer.id)

        #expect(try await waited.column("customer_id") == [customer.id])
        try await eventually("the stream told of it") { reader.messages.count == 1 }
        #expect(ContinuousClock.now - start < .seconds(15))
    }

    @Test("one that waits in vain has an answer in time")
    func waitingInVain() async throws {
        let tenant = try await stage.tenant()
        let start = ContinuousClock.now

        let answer = try await tenant.get(Self.path, [("wait", "1")])

        #expect(answer.body == #"{"data":[],"next_after":0}"#)
        #expect(ContinuousClock.now - start >= .milliseconds(500))
    }

    @Test("what is there already isn't waited for")
    func waitingForNothing() async throws {
        let tenant = try await stage.tenant()
        _ = try await tenant.delete(try await tenant.insert().id)
        let start = ContinuousClock.now

        #expect(try await tenant.get(Self.path, [("wait", "30")]).data.count == 1)
        #expect(ContinuousClock.now - start < .seconds(20))
    }

    // MARK: - Streams

    @Test("a stream tells what was, then what comes, each with its seq and type")
    func stream() async throws {
        let tenant = try await stage.tenant()
        _ = try await tenant.delete(try await tenant.insert().id)
        let reader = EventStreamReader(tenant)
        try await eventually("the first event came") { reader.messages.count == 1 }
        _ = try await tenant.delete(newID())
        _ = try await tenant.delete(try await tenant.insert().id)
        try await eventually("the next event came") { reader.messages.count == 2 }

        #expect(reader.messages.map(\.id) == ["1", "3"])
        #expect(reader.messages.map(\.event) == ["customer.deleted", "customer.deleted"])
        let page = try await tenant.get(Self.path)
        let data = reader.messages.compactMap(\.data).joined(separator: ",")
        #expect(page.body == "{\"data\":[\(data)],\"next_after\":3}")
        #expect(reader.comments >= 1)
    }

    @Test("a comment comes every 15 seconds, whether or not there are events")
    func comments() async throws {
        let tenant = try await stage.tenant()
        let reader = EventStreamReader(tenant)
        try await eventually("the stream began") { reader.comments == 1 }
        let start = ContinuousClock.now
        try await Task.sleep(for: .seconds(13))
        _ = try await tenant.delete(try await tenant.insert().id)

        try await eventually("a comment came", within: .seconds(60)) { reader.comments == 2 }

        let pause = ContinuousClock.now - start
        #expect(pause > .seconds(13), "after \(pause)")
        // Had the event begun the time anew, it would have been 28 seconds.
        #expect(pause < .seconds(27), "after \(pause)")
        #expect(reader.messages.count == 1)
    }

    @Test("a client that comes again goes on behind the last event that it had")
    func resumed() async throws {
        let tenant = try await stage.tenant()
        for _ in 1...3 { _ = try await tenant.delete(try await tenant.insert().id) }

        let reader = EventStreamReader(tenant, "?after=0", lastEventID: "2")
        try await eventually("the third event came") { reader.messages.count == 1 }
        #expect(reader.messages.map(\.id) == ["3"])

        let call = HTTPCall(
            "GET", Self.path,
            headers: tenant.key.headers + [("accept", "text/event-stream"), ("last-event-id", "x")])
        #expect(try await tenant.send(call).status == 400)
    }

    @Test("streams end soon after their key was revoked, those of other keys go on")
    func revoked() async throws {
        let tenant = try await stage.tenant()
        let auditor = try await tenant.withKey(role: "auditor")
        let (revoked, kept) = (EventStreamReader(auditor), EventStreamReader(tenant))
        try await eventually("both listen") { revoked.comments == 1 && kept.comments == 1 }

        try await tenant.database.revoke(auditor.key)

        try await eventually("the stream ended") { revoked.status == 200 }
        _ = try await tenant.delete(try await tenant.insert().id)
        try await eventually("the other heard of it") { kept.messages.count == 1 }
        #expect(revoked.messages == [])
    }

    @Test("many listeners hear of one event, and cost one look-up together", .timeLimit(.minutes(3)))
    func many() async throws {
        let tenant = try await stage.tenant()
        let readers = (1...50).map { _ in EventStreamReader(tenant) }
        try await eventually("all listen") { readers.allSatisfy { $0.comments == 1 } }

        _ = try await tenant.delete(try await tenant.insert().id)

        try await eventually("all heard of it") { readers.allSatisfy { $0.messages.count == 1 } }
    }
}

extension Tenant {
    /// Writes a chain by the function that appends: attempts in vain, and deletions at some places.
    fileprivate func forgeChain(length: Int, deletions: [Int]) async throws {
        try await database.rows(
            """
            SELECT count(a.seq)
            FROM service.append($1, (
                SELECT jsonb_agg(jsonb_build_object(
                    'id', gen_random_uuid(), 'action', 'customer.delete', 'customer_id', gen_random_uuid(),
                    'outcome', CASE WHEN n = ANY ($3::int[]) THEN 'SUCCEEDED' ELSE 'NOT_FOUND' END) ORDER BY n)
                FROM generate_series(1, $2::int) AS n)) AS a
            """,
            [.text(app), .int(length), .array(deletions.map { "\($0)" })])
    }
}
