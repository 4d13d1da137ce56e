import TestSupport
import Testing

/// What a client may tell about itself: recorded, never trusted.
@Suite("What the client tells", .stage(["CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8 2001:db8::/32"]))
struct ContextTests {
    let stage = Stage.current

    @Test("actor and reason are recorded up to their limits", arguments: ["a", "é", "😀"])
    func atTheLimit(character: String) async throws {
        let tenant = try await stage.tenant()
        let actor = String(repeating: character, count: 200)
        let reason = String(repeating: character, count: 500)

        let answer = try await tenant.delete(newID(), headers: [("x-actor-id", actor), ("x-audit-reason", reason)])

        #expect(answer.status == 404)
        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(entries[0]["actor_claimed"] == actor)
        #expect(entries[0]["reason"] == reason)
    }

    @Test("values that aren't UTF-8 are ISO-8859-1, wherever the packets end", arguments: [1, 7, 1000])
    func latin1(piece: Int) async throws {
        let tenant = try await stage.tenant()
        let connection = try RawConnection(port: stage.service.port)
        for _ in 1...2 {
            var request = RawRequest(tenant.deletion(of: newID()))
            request.headers.append("x-actor-id: Jos\u{1}")
            request.headers.append("X-Audit-Reason: Zo\u{2}, é")
            let bytes = request.bytes.map { [1: UInt8(0xe9), 2: 0xeb][$0] ?? $0 }

            for start in stride(from: 0, to: bytes.count, by: piece) {
                await connection.send(Array(bytes[start..<min(start + piece, bytes.count)]))
            }
            #expect(await connection.reply().answer?.status == 404)
        }

        let entries = try await tenant.entries()
        #expect(entries.map { $0["actor_claimed"] } == ["José", "José"])
        #expect(entries.map { $0["reason"] } == ["Zoë, Ã©", "Zoë, Ã©"])
    }

    @Test("one more is a 400 that names the header", arguments: [("x-actor-id", 201), ("x-audit-reason", 501)])
    func overTheLimit(header: String, length: Int) async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()

        let answer = try await tenant.delete(
            customer.id, headers: [(header, String(repeating: "é", count: length))])

        #expect(answer.status == 400)
        #expect(answer.hasErrorForm)
        #expect(answer.body.contains(header))
        #expect(try await tenant.hasCustomer(customer.id))
        #expect(try await tenant.entries().map { $0["outcome"] } == ["INVALID"])
    }

    @Test(
        "a request id is echoed and recorded",
        arguments: ["a", "0f8fad5b-d9cb-469f-a165-70867728950e", String(repeating: "x", count: 128)])
    func requestID(id: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.delete(newID(), headers: [("x-request-id", id)])

        #expect(answer["x-request-id"] == id)
        #expect(try await tenant.entries().map { $0["request_id"] } == [id])
    }

    @Test(
        "a bad request id is replaced",
        arguments: ["", String(repeating: "x", count: 129), "a b", "ü", "😀", "a\tb", "a, b"])
    func badRequestID(id: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.delete(newID(), headers: [("x-request-id", id)])

        #expect(answer.status == 404)
        let echoed = try #require(answer["x-request-id"])
        #expect(echoed != id && !echoed.isEmpty && echoed.utf8.count <= 128)
        #expect(try await tenant.entries().map { $0["request_id"] } == [echoed])
    }

    @Test("a request id is made where there is none, another each time, on every kind of answer")
    func madeRequestID() async throws {
        let tenant = try await stage.tenant()
        let calls = [
            tenant.deletion(of: newID()), tenant.deletion(of: "no-uuid"), HTTPCall("DELETE", "/api/v0/customers/x"),
            HTTPCall("GET", "/nothing"), HTTPCall("PUT", "/api/v0/customers/x"), HTTPCall("GET", "/health/live"),
        ]

        var ids: [String] = []
        for call in calls { ids.append(try #require(try await tenant.send(call)["x-request-id"])) }

        #expect(Set(ids).count == calls.count)
    }

    @Test("the request is kept: method, path, query, trace, but no header that could hold a secret")
    func request() async throws {
        let tenant = try await stage.tenant()
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let id = newID()
        var call = tenant.deletion(
            of: id, headers: [("traceparent", trace), ("authorization", "Bearer abc"), ("cookie", "session=abc")])
        call.path += "?why=a%20test&n=1"

        _ = try await tenant.send(call)

        let entries = try await tenant.entries()
        try #require(entries.count == 1)
        #expect(entries[0].request("method") == "DELETE")
        #expect(entries[0].request("path") == "/api/v0/customers/\(id)")
        #expect(entries[0].request("query") == "why=a%20test&n=1")
        #expect(entries[0].request("headers", "traceparent") == trace)
        for header in ["authorization", "cookie", "x-client-secret", "x-client-key"] {
            #expect(entries[0].request("headers", header) == nil)
        }
    }

    @Test(
        "a forwarded address is believed as far as trusted proxies vouch for it",
        arguments: [
            ("198.51.100.1", "198.51.100.1"),
            ("192.0.2.66, 198.51.100.1", "198.51.100.1"),
            ("192.0.2.66, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
            ("192.0.2.66,198.51.100.1,10.1.2.3,2001:db8::1", "198.51.100.1"),
            ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
            ("2001:db9::5", "2001:db9::5"),
            ("[2001:db9::5]:443, 10.0.0.1", "2001:db9::5"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("198.51.100.1:1234", "198.51.100.1"),
        ])
    func forwarded(header: String, address: String) async throws {
        let tenant = try await stage.tenant()

        _ = try await tenant.delete(newID(), headers: [("x-forwarded-for", header)])

        #expect(try await tenant.entries().map { $0["ip"] } == [address])
    }

    @Test("several lines of forwarded addresses are one list")
    func forwardedTwice() async throws {
        let tenant = try await stage.tenant()

        _ = try await tenant.delete(
            newID(), headers: [("x-forwarded-for", "192.0.2.66"), ("x-forwarded-for", "198.51.100.1, 10.0.0.1")])

        #expect(try await tenant.entries().map { $0["ip"] } == ["198.51.100.1"])
    }

    @Test(
        "a forwarded address that is none doesn't harm",
        arguments: ["unknown", "_hidden", "", ",", "1.2.3.4.5", "::g", "😀"])
    func forwardedGarbage(header: String) async throws {
        let tenant = try await stage.tenant()

        let answer = try await tenant.delete(newID(), headers: [("x-forwarded-for", header)])

        #expect(answer.status == 404)
        #expect(try await tenant.entries().map { $0["ip"] } == ["127.0.0.1"])
    }

    @Test("without trusted proxies nothing that is forwarded is believed")
    func untrusted() async throws {
        let tenant = try await stage.tenant()
        let service = try await stage.secondService(["CUSTOMERD_TRUSTED_PROXIES": ""])

        _ = try await tenant.through(service).delete(
            newID(),
            headers: [
                ("x-forwarded-for", "198.51.100.1"), ("forwarded", "for=198.51.100.1"), ("x-real-ip", "198.51.100.1"),
            ])
        service.terminate()

        #expect(try await tenant.entries().map { $0["ip"] } == ["127.0.0.1"])
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
    }
}
