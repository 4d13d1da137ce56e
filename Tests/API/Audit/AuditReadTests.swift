import Foundation
import LibPQ
import TestSupport
import Testing

@Suite("Reading the trail", .unlimitedStage())
struct AuditReadTests {
    private static let path = "/api/v0/audit"

    @Test("an entry has the table's columns in order, without the salts")
    func columns() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert(CustomerFixture { $0.lastSpent = "9999999999999999.90" })
        _ = try await tenant.delete(customer.id, headers: [("x-actor-id", "bob"), ("x-audit-reason", "GDPR \"17\"")])

        let answer = try await tenant.get(Self.path)

        let names = TrailEntry.documentedColumns.split(separator: ", ").map { $0.prefix { $0 != " " } }
        let shown = try #require(answer.body.prefixMatch(of: /\{"data":\[(.*)\],"next_cursor":null\}/)?.output.1)
        var rest = shown[...]
        for name in names + ["subject_commitment", "context_commitment"] {
            let found = try #require(rest.range(of: "\"\(name)\":"), "\(name) is there, in order: \(shown)")
            rest = rest[found.upperBound...]
        }
        let entry = try #require(try answer.data.first)
        #expect(entry["subject_salt"] == nil && entry["context_salt"] == nil)
        #expect(shown.contains(#""last_spent": 9999999999999999.90,"#))
        #expect(entry["reason"] as? String == "GDPR \"17\"")
        #expect(entry["ip"] as? String == "127.0.0.1")
        #expect((entry["hash"] as? String)?.wholeMatch(of: /[0-9a-f]{64}/) != nil)
        #expect((entry["occurred_at"] as? String)?.hasSuffix("Z") == true)

        let id = try #require(entry["id"] as? String)
        let single = try await tenant.get("\(Self.path)/\(id.uppercased())")
        #expect(single.status == 200)
        #expect(single.body == shown)
    }

    @Test("the salts come only for the asking, after all other columns, and none for what was erased")
    func proof() async throws {
        let tenant = try await Stage.current.tenant()
        let customer = try await tenant.insert()
        _ = try await tenant.delete(customer.id)
        let redaction = HTTPCall(
            "POST", "/api/v0/customers/\(customer.id)/redact",
            headers: tenant.key.headers + [("idempotency-key", newID())])
        #expect(try await tenant.send(redaction).status == 200)

        let plain = try await tenant.get(Self.path, [("proof", "false")])
        let proof = try await tenant.get(Self.path, [("proof", "true")])

        let salts = try await tenant.database.rows(
            """
            SELECT encode(subject_salt, 'hex') AS subject, encode(context_salt, 'hex') AS context
            FROM audit.entries
            WHERE app_id = $1
            ORDER BY seq DESC
            """,
            [.text(tenant.app)]
        )
        #expect(try proof.column("subject_salt") == [salts[0]["subject"], nil])
        #expect(try proof.column("context_salt") == [salts[0]["context"], salts[1]["context"]])
        let withoutSalts = proof.body.replacing(/,"(?:subject|context)_salt":(?:null|"[0-9a-f]{64}")/, with: "")
        #expect(withoutSalts == plain.body)
    }

    @Test("pages go backwards without gap or repetition while entries arrive")
    func cursor() async throws {
        let tenant = try await Stage.current.tenant()
        for _ in 1...7 { _ = try await tenant.delete(newID()) }

        var seqs: [String?] = []
        var cursor: String?
        repeat {
            let query = [(name: "limit", value: "3")] + (cursor.map { [(name: "cursor", value: $0)] } ?? [])
            let page = try await tenant.get(Self.path, query)
            seqs += try page.column("seq")
            cursor = try page.object["next_cursor"] as? String
            _ = try await tenant.delete(newID())
        } while cursor != nil

        #expect(seqs == (1...7).reversed().map { "\($0)" })
    }

    @Test("a page that ends with the last entry has no next one")
    func lastPage() async throws {
        let tenant = try await Stage.current.tenant()
        for _ in 1...2 { _ = try await tenant.delete(newID()) }

        #expect(try await tenant.get(Self.path, [("limit", "2")]).body.hasSuffix(#"],"next_cursor":null}"#))
        #expect(try await tenant.get(Self.path, [("limit", "1")]).object["next_cursor"] is String)
    }

    @Test("filters find by customer, outcome, actor and time")
    func filters() async throws {
        let tenant = try await Stage.current.tenant(name: "back office")
        let viewer = try await tenant.withKey(role: "viewer", name: "front desk")
        let customer = try await tenant.insert()
        _ = try await viewer.delete(customer.id)
        _ = try await tenant.delete(newID(), headers: [("x-actor-id", "bob@example.com")])
        _ = try await tenant.delete(customer.id)
        let times = try await tenant.entries().compactMap { $0["occurred_at"] }
        let second = try #require(
            try await tenant.database.value("SELECT service.rfc3339($1::timestamptz)", [.text(times[1])]))

        func seqs(_ query: [(name: String, value: String)]) async throws -> [String?] {
            try await tenant.get(Self.path, query).column("seq")
        }
        #expect(try await seqs([("customer_id", customer.id.uppercased())]) == ["3", "1"])
        #expect(try await seqs([("outcome", "NOT_FOUND")]) == ["2"])
        #expect(try await seqs([("actor", "front desk")]) == ["1"])
        #expect(try await seqs([("actor", tenant.key.clientKey)]) == ["3", "2"])
        #expect(try await seqs([("actor", "bob@example.com")]) == ["2"])
        #expect(try await seqs([("actor", "bob")]) == [])
        #expect(try await seqs([("from", second)]) == ["3", "2"])
        #expect(try await seqs([("to", second)]) == ["1"])
        #expect(try await seqs([("from", second), ("outcome", "SUCCEEDED"), ("actor", "back office")]) == ["3"])
        #expect(try await seqs([("from", "9999-12-31T23:59:60-15:59")]) == [])
        #expect(try await seqs([("to", "0001-01-01T00:00:00+14:00")]) == [])
        let unencoded = HTTPCall("GET", Self.path + "?from=2020-01-01T00:00:00+02:00", headers: tenant.key.headers)
        #expect(try await tenant.send(unencoded).column("seq").count == 3)
    }

    @Test("an app sees its own entries alone, never those of another or of strangers")
    func tenants() async throws {
        let tenant = try await Stage.current.tenant(role: "auditor")
        let other = try await Stage.current.tenant()
        _ = try await other.delete(newID())
        var stranger = tenant.deletion(of: newID())
        stranger.headers[1].value = "wrong"
        _ = try await tenant.send(stranger)
        let foreign = try #require(try await other.entries().first?["id"])
        let unauthenticated = try #require(try await tenant.database.entries(app: nil).first?["id"])

        #expect(try await tenant.get(Self.path).body == #"{"data":[],"next_cursor":null}"#)
        for id in [foreign, unauthenticated, newID()] {
            let answer = try await tenant.get("\(Self.path)/\(id)")
            #expect(answer.body == HTTPAnswer.error(404, "Audit entry not found", "Not Found"))
        }
    }

    static let refusals: [(query: String, message: String)] = [
        ("?limit=0", "limit must be a whole number from 1 to 100"),
        ("?limit=101", "limit must be a whole number from 1 to 100"),
        ("?customer_id=1", "customer_id must be a UUID"),
        (
            "?outcome=succeeded",
            "outcome must be one of SUCCEEDED, REFUSED, NOT_FOUND, INVALID, UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED, "
                + "CONFLICT, REPLAYED, INTERRUPTED, FAILED"
        ),
        ("?from=2025-01-01", "from must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?from=2025-02-29T00:00:00Z", "from must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?from=2025-01-01T24:00:00Z", "from must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?from=2025-01-01T00:00:00", "from must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?to=0000-01-01T00:00:00Z", "to must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?to=2025-01-01T00:00:00%2B16:00", "to must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?to=now", "to must be an RFC 3339 date-time such as 2026-01-31T09:30:00Z"),
        ("?cursor=!", "cursor must be a next_cursor of an earlier answer"),
        ("?cursor=MQ", "cursor must be a next_cursor of an earlier answer"),
        ("?cursor=YmVmb3JlOi0x", "cursor must be a next_cursor of an earlier answer"),
        ("?cursor=YmVmb3JlOjk5OTk5OTk5OTk5OTk5OTk5OTk5", "cursor must be a next_cursor of an earlier answer"),
        ("?actor=a&actor=b", "actor must be given once"),
        ("?proof=yes", "proof must be one of true, false"),
        ("/1", "Validation failed (uuid is expected)"),
    ]

    @Test("what can't be meant is a 400 that names the parameter", arguments: refusals)
    func refused(query: String, message: String) async throws {
        let tenant = try await Stage.current.tenant(role: "auditor")

        let answer = try await tenant.send(HTTPCall("GET", Self.path + query, headers: tenant.key.headers))

        #expect(answer.status == 400)
        #expect(answer.body == HTTPAnswer.error(400, message, "Bad Request"))
    }
}
