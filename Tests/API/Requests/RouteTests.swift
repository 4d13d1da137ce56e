import TestSupport
import Testing

/// Every error of every route has the three members.
@Suite("Routes", .stage())
struct RouteTests {
    let stage = Stage.current

    @Test(
        "an unknown route is a 404 that names it",
        arguments: [
            ("GET", "/"), ("GET", "/api"), ("GET", "/api/v0"), ("POST", "/api/v0/nothing"),
            ("DELETE", "/api/v1/customers/x"),
            ("GET", "/api/v0/customers/a/b/c"), ("DELETE", "/API/v0/customers/x"), ("PUT", "/%2e%2e/etc/passwd"),
        ])
    func unknown(method: String, path: String) async throws {
        let answer = try await HTTPCall(method, path).send(to: stage.service.port)

        #expect(answer.status == 404)
        #expect(answer.body == #"{"statusCode":404,"message":"Cannot \#(method) \#(path)","error":"Not Found"}"#)
        #expect(answer["content-type"] == "application/json")
        #expect(answer["x-request-id"] != nil)
        #expect(answer.rateHeaders == [])
    }

    @Test("the query isn't part of the path that a 404 names, nor can it break the JSON")
    func unknownWithQuery() async throws {
        let answer = try await HTTPCall("GET", "/nothing/%22%0a?a=%22").send(to: stage.service.port)

        #expect(answer.status == 404)
        #expect(answer.hasErrorForm)
        #expect(!answer.body.contains("?"))
    }

    @Test(
        "a wrong method is a 405 that says which are right",
        arguments: [
            ("PUT", "/api/v0/customers/550e8400-e29b-41d4-a716-446655440000", "DELETE"),
            ("OPTIONS", "/api/v0/customers/550e8400-e29b-41d4-a716-446655440000", "DELETE"),
            ("TRACE", "/api/v0/customers/550e8400-e29b-41d4-a716-446655440000", "DELETE"),
            ("PROPFIND", "/api/v0/customers/550e8400-e29b-41d4-a716-446655440000", "DELETE"),
            ("POST", "/health/live", "GET"), ("DELETE", "/metrics", "GET"), ("PUT", "/openapi.json", "GET"),
            ("POST", "/reference", "GET"),
        ])
    func wrongMethod(method: String, path: String, allowed: String) async throws {
        let answer = try await HTTPCall(method, path).send(to: stage.service.port)

        #expect(answer.status == 405)
        #expect(answer.hasErrorForm)
        #expect(answer.body.hasSuffix(#""error":"Method Not Allowed"}"#))
        let methods = answer["allow"]?.split(separator: ",").map { $0.trimmingPrefix(" ") } ?? []
        #expect(methods.contains { $0 == allowed })
        #expect(!methods.contains { $0 == method })
        #expect(answer.rateHeaders == [])
    }

    @Test(
        "what operators ask for is there without credentials",
        arguments: [
            ("/health/live", "application/json"), ("/health/ready", "application/json"),
            ("/openapi.json", "application/json"),
            ("/metrics", "text/plain"),
        ])
    func operations(path: String, type: String) async throws {
        let answer = try await HTTPCall("GET", path).send(to: stage.service.port)

        #expect(answer.status == 200)
        #expect(answer["content-type"]?.hasPrefix(type) == true)
        #expect(!answer.body.isEmpty)
    }

    @Test("HEAD is answered as GET is, without the body; where reading leaves an entry it isn't a method")
    func head() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let connection = try RawConnection(port: stage.service.port)
        func ask(_ method: String, _ path: String) async throws -> HTTPAnswer {
            let headers = ["Host: a"] + tenant.key.headers.map { "\($0.name): \($0.value)" }
            await connection.send(RawRequest(line: "\(method) \(path) HTTP/1.1", headers: headers).bytes)
            return try #require(await connection.reply(toHead: method == "HEAD").answer)
        }

        let one = "/api/v0/customers/\(customer.id)"
        let paths = [
            "/api/v0/customers", one, one + "/deletion-check", one + "/invoices", one + "/payment-links",
            one + "/transactions", one + "/liquidation-addresses", "/api/v0/audit", "/api/v0/audit/\(newID())",
            "/api/v0/customers/\(newID())", "/openapi.json", "/health/live", "/health/ready", "/console",
            "/reference", "/nothing",
        ]
        for path in paths {
            let (head, get) = (try await ask("HEAD", path), try await ask("GET", path))
            #expect(head.status == get.status, "\(path)")
            #expect(path == "/nothing" || head["content-length"] == get["content-length"], "\(path)")
            #expect(head["content-type"] == get["content-type"], "\(path)")
            #expect(head["etag"] == get["etag"], "\(path)")
        }
        let export = try await ask("HEAD", one + "/export")

        #expect(export.status == 405)
        #expect(export["allow"] == "GET")
        #expect(try await ask("GET", "/health/live").status == 200, "the connection goes on")
        #expect(try await tenant.entries().isEmpty, "nothing went out")
    }

    @Test("requests on one connection are answered in turn")
    func pipelined() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 3)
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(customers.map { RawRequest(tenant.deletion(of: $0)).text }.joined())
        var answers: [HTTPAnswer?] = []
        for _ in customers { answers.append(await connection.reply().answer) }

        #expect(answers.map { $0?.status } == [200, 200, 200])
        for (answer, customer) in zip(answers, customers) {
            #expect(answer?.body.hasPrefix(#"{"id":"\#(customer)""#) == true)
        }
    }

    @Test("a client that sends byte by byte is served")
    func trickle() async throws {
        let tenant = try await stage.tenant()
        let customer = try await tenant.insert()
        let connection = try RawConnection(port: stage.service.port)

        for byte in RawRequest(tenant.deletion(of: customer.id)).bytes { await connection.send([byte]) }

        #expect(await connection.reply().answer?.status == 200)
    }
}
