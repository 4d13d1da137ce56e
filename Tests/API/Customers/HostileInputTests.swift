import Foundation
import LibPQ
import TestSupport
import Testing

/// SQL, templates and paths in every place where a client's text gets in: it stays text.
@Suite("Hostile input", .unlimitedStage())
struct HostileInputTests {
    let stage = Stage.current

    static let payloads = [
        "'; DROP TABLE customers CASCADE; --",
        "' OR '1'='1",
        "\\'; SELECT pg_sleep(20); --",
        "'||(SELECT pg_sleep(20))||'",
        "$1); DELETE FROM audit.entries; --",
        "\"; TRUNCATE service.attempts; --",
        "%' OR app_id IS NOT NULL --",
        "1; ALTER ROLE customerd_service SUPERUSER",
        "{\"$gt\":\"\"}",
        "${jndi:ldap://127.0.0.1/x}",
        "../../../../etc/passwd",
        "<script>alert(1)</script>",
    ]

    /// Where a request takes text from a client.
    struct Place: Sendable, CustomTestStringConvertible {
        var name: String
        var call: @Sendable (_ tenant: Tenant, _ customer: String, _ payload: String) -> HTTPCall

        var testDescription: String { name }
    }

    static let places: [Place] = {
        let queries = [
            "customers": ["name", "email", "status", "skip", "take"],
            "audit": ["customer_id", "outcome", "actor", "from", "to", "cursor", "limit"],
        ]
        let inQuery = queries.flatMap { path, names in
            names.map { name in
                Place(name: "\(path)?\(name)") { tenant, _, payload in
                    HTTPCall("GET", "/api/v0/\(path)?\(name)=\(encoded(payload))", headers: tenant.key.headers)
                }
            }
        }
        let inHeader = [
            "x-client-key", "x-client-secret", "idempotency-key", "x-actor-id", "x-audit-reason", "x-request-id",
            "traceparent", "user-agent", "x-forwarded-for", "if-match", "host",
        ].map { name in
            Place(name: name) { tenant, customer, payload in
                var headers = tenant.key.headers + [("idempotency-key", newID())]
                headers.removeAll { $0.name == name }
                return HTTPCall(
                    "PATCH", "/api/v0/customers/\(customer)", headers: headers + [(name, payload)], body: "{}")
            }
        }
        let inBody = ["first_name", "last_name", "phone_number", "email", "customer_type", "status", "unknown"].map {
            name in
            Place(name: "body.\(name)") { tenant, customer, payload in
                HTTPCall(
                    "PATCH", "/api/v0/customers/\(customer)", headers: tenant.key.headers,
                    body: json([name: payload]))
            }
        }
        let others = [
            Place(name: "path") { tenant, _, payload in tenant.deletion(of: encoded(payload)) },
            Place(name: "path of a read") { tenant, _, payload in
                HTTPCall("GET", "/api/v0/customers/\(encoded(payload))/deletion-check", headers: tenant.key.headers)
            },
            Place(name: "name of a member") { tenant, customer, payload in
                HTTPCall(
                    "PATCH", "/api/v0/customers/\(customer)", headers: tenant.key.headers, body: json([payload: "x"]))
            },
            Place(name: "id in a bulk request") { tenant, _, payload in
                HTTPCall(
                    "POST", "/api/v0/customers/bulk-delete",
                    headers: tenant.key.headers + [("idempotency-key", newID())], body: json(["ids": [payload]]))
            },
        ]
        return inQuery + inHeader + inBody + others
    }()

    private static func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? text
    }

    private static func json(_ object: [String: any Sendable]) -> String {
        let data = try? JSONSerialization.data(withJSONObject: object)
        return String(decoding: data ?? Data(), as: UTF8.self)
    }

    @Test("is answered as any other text, and changes nothing that it names", arguments: places)
    func harmless(place: Place) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let before = try await schema()

        for payload in Self.payloads {
            let start = ContinuousClock.now
            let answer = try await tenant.send(place.call(tenant, customer.id, payload))
            #expect(answer.status < 500, "\(payload): \(answer)")
            #expect(ContinuousClock.now - start < .hang, "\(payload) was executed")
        }

        #expect(try await tenant.customerCount() == "1")
        #expect(try await schema() == before)
    }

    @Test("is kept to the letter where text is kept", arguments: payloads)
    func kept(payload: String) async throws {
        let tenant = try await stage.tenant()

        let body = Self.json(["first_name": payload, "last_name": payload, "phone_number": "+1"])
        let created = try await tenant.ask(
            "POST", "", body, headers: [("x-audit-reason", payload), ("x-actor-id", payload), ("user-agent", payload)])

        #expect(created.status == 201)
        let row = try #require(
            try await tenant.database.rows(
                "SELECT first_name, last_name FROM customers WHERE app_id = $1", [.text(tenant.app)]
            ).first)
        #expect(row == ["first_name": payload, "last_name": payload])
        let entry = try #require(try await tenant.entries().first)
        #expect(entry["reason"] == payload)
        #expect(entry["actor_claimed"] == payload)
        #expect(entry["user_agent"] == payload)
        let found = try await tenant.ask("GET", "?name=\(Self.encoded(payload))")
        #expect(found.body.hasSuffix(#","total":1,"skip":0,"take":10}"#))
    }

    /// What a statement that got in would have changed.
    private func schema() async throws -> [[String: String]] {
        try await stage.database.rows(
            """
            SELECT (SELECT string_agg(c.oid::regclass || c.relkind::text, ',' ORDER BY c.oid)
                    FROM pg_class AS c
                    WHERE c.relnamespace IN ('public'::regnamespace, 'audit'::regnamespace, 'service'::regnamespace)
                   ) AS relations,
                   (SELECT string_agg(r.rolname || r.rolsuper::text, ',' ORDER BY r.rolname)
                    FROM pg_roles AS r WHERE r.rolname LIKE 'customerd%') AS roles
            """)
    }
}
