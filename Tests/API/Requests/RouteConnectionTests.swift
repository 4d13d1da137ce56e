import TestSupport
import Testing

/// How long a connection lasts, and what a client is told before it sends a body.
@Suite("Connections", .unlimitedStage())
struct RouteConnectionTests {
    let stage = Stage.current

    private static func live(_ headers: [String] = [], version: String = "1.1") -> String {
        (["GET /health/live HTTP/\(version)", "Host: a"] + headers).joined(separator: "\r\n") + "\r\n\r\n"
    }

    @Test(
        "last as long as both sides want",
        arguments: [
            ([], "1.1", true), (["Connection: close"], "1.1", false), (["Connection: Close"], "1.1", false),
            (["connection: foo, CLOSE"], "1.1", false), (["Connection: foo", "Connection: close"], "1.1", false),
            (["Connection: closed"], "1.1", true), ([], "1.0", false), (["Connection: Keep-Alive"], "1.0", true),
            (["Connection: keep-alive, close"], "1.0", false),
            (["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"], "1.1", false),
        ])
    func persistence(headers: [String], version: String, isKept: Bool) async throws {
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(Self.live(headers, version: version) + Self.live())
        let first = await connection.reply(within: .seconds(10))
        let second = await connection.reply(within: .seconds(10))

        #expect(first.answer?.status == 200)
        #expect(first.answer?["connection"] == (isKept ? (version == "1.0" ? "keep-alive" : nil) : "close"))
        if isKept { #expect(second.answer?.status == 200) } else { #expect(second == .closed) }
    }

    private func creation(_ tenant: Tenant, _ headers: [String]) -> RawRequest {
        RawRequest(
            line: "POST /api/v0/customers HTTP/1.1",
            headers: ["Host: a"] + tenant.key.headers.map { "\($0.name): \($0.value)" } + headers)
    }

    @Test(
        "a client that waits for it is told to send the body",
        arguments: ["Content-Length: 58", "Transfer-Encoding: chunked"])
    func invitation(framing: String) async throws {
        let tenant = try await stage.tenant()
        let connection = try RawConnection(port: stage.service.port)
        let body = #"{"first_name":"Ada","last_name":"Byron","phone_number":"1"}"#
        let isChunked = framing.hasPrefix("T")
        let length = isChunked ? framing : "Content-Length: \(body.utf8.count)"

        await connection.send(creation(tenant, [length, "Expect: 100-Continue"]).bytes)
        let interim = await connection.reply(interim: true)
        await connection.send(isChunked ? "\(String(body.utf8.count, radix: 16))\r\n\(body)\r\n0\r\n\r\n" : body)
        let answer = await connection.reply(interim: true)
        await connection.send(Self.live())

        #expect(interim.answer?.status == 100)
        #expect(answer.answer?.status == 201)
        #expect(await connection.reply().answer?.status == 200, "the connection stays usable")
    }

    @Test("a client that doesn't wait isn't told")
    func impatience() async throws {
        let tenant = try await stage.tenant()
        let connection = try RawConnection(port: stage.service.port)
        var request = creation(tenant, ["Content-Length: 2", "Expect: 100-continue"])
        request.body = Array("{}".utf8)

        await connection.send(request.bytes)
        let replies = [
            await connection.reply(interim: true), await connection.reply(within: .seconds(1), interim: true),
        ]

        #expect(replies.compactMap { $0.answer?.status }.last == 400)
    }

    @Test(
        "a request that is refused without its body is refused at once, and its body isn't awaited",
        arguments: [
            ("POST /api/v0/customers HTTP/1.1", 65_537, 413), ("POST /nothing HTTP/1.1", 5, 404),
            ("POST /health/live HTTP/1.1", 5, 405), ("POST //api/v0/customers HTTP/1.1", 5, 404),
        ])
    func refusal(line: String, length: Int, status: Int) async throws {
        let connection = try RawConnection(port: stage.service.port)
        let request = RawRequest(
            line: line, headers: ["Host: a", "Content-Length: \(length)", "Expect: 100-continue"])

        await connection.send(request.bytes)
        let first = await connection.reply(within: .seconds(5), interim: true)
        // Taken for the body, or for the next request? Neither: the connection has ended.
        await connection.send(Self.live())
        let second = await connection.reply(within: .seconds(5), interim: true)

        #expect(first.answer?.status == status)
        #expect(first.answer?.hasErrorForm == true)
        #expect(first.answer?["connection"] == "close")
        #expect(second == .closed)
    }

    @Test("a request without a body, and HTTP/1.0, have nothing to wait for")
    func nothingToExpect() async throws {
        let connection = try RawConnection(port: stage.service.port)
        await connection.send(Self.live(["Expect: 100-continue"]) + Self.live(["Expect: 100-continue"], version: "1.0"))

        let statuses = [await connection.reply(interim: true), await connection.reply(interim: true)].map {
            $0.answer?.status
        }

        #expect(statuses == [200, 200])
    }

    @Test(
        "a path that isn't that of a route to the letter is a 404",
        arguments: [
            "//metrics", "/metrics/", "/./metrics", "/x/../metrics", "/metrics/.", "/%2e/metrics", "/metrics%2F",
            "/%6detrics",
            "//api//v0///audit/", "/api/v0/customers/", "/api/v0//customers", "/api/v0/customers%2f", "/health/live/",
            "/console/", "/console/../metrics", "/api/v0/customers/a%2Fb", "/api/v0/customers/..", "/METRICS",
            "/metrics;a",
        ])
    func paths(path: String) async throws {
        let tenant = try await stage.tenant()
        for method in ["GET", "DELETE", "OPTIONS"] {
            let connection = try RawConnection(port: stage.service.port)
            let headers = ["Host: a"] + tenant.key.headers.map { "\($0.name): \($0.value)" }

            await connection.send(RawRequest(line: "\(method) \(path) HTTP/1.1", headers: headers).bytes)
            let answer = await connection.reply().answer

            #expect(answer?.status == 404)
            #expect(answer?.body == HTTPAnswer.error(404, "Cannot \(method) \(path)", "Not Found"))
        }
        #expect(try await tenant.entries().isEmpty)
    }

    @Test("OPTIONS for the server as a whole is a route that isn't there")
    func asterisk() async throws {
        let connection = try RawConnection(port: stage.service.port)
        await connection.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" + Self.live())

        let answers = [await connection.reply().answer, await connection.reply().answer]

        #expect(answers[0]?.body == HTTPAnswer.error(404, "Cannot OPTIONS *", "Not Found"))
        #expect(answers[1]?.status == 200)
    }

    @Test("a record that the client has already is a 304 with its tag and without a body")
    func notModified() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let path = "/api/v0/customers/\(customer.id)"
        let tag = try #require(try await tenant.send(HTTPCall("GET", path, headers: tenant.key.headers))["etag"])

        for (value, status) in [
            (tag, 304), ("W/\(tag)", 304), ("\"a\", \(tag)", 304), ("*", 304), ("\"a\"", 200), ("a", 200),
        ] {
            let answer = try await tenant.send(
                HTTPCall("GET", path, headers: tenant.key.headers + [("if-none-match", value)]))

            #expect(answer.status == status, "\(value)")
            #expect(answer["etag"] == tag)
            #expect(answer.rateHeaders.count == 3)
            #expect(answer.body.isEmpty == (status == 304))
        }
    }
}
