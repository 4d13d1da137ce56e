import TestSupport
import Testing

/// Requests that proxies, caches and servers have taken for different ones: each is refused, and the connection ends.
@Suite("Heads of requests", .stage())
struct MalformedHeadTests {
    let stage = Stage.current

    struct Broken: Sendable, CustomTestStringConvertible {
        var name: String
        var text: String
        var status = 400

        var testDescription: String { name }
    }

    private static func request(_ line: String, _ headers: [String], body: String = "") -> String {
        ([line] + headers).joined(separator: "\r\n") + "\r\n\r\n" + body
    }

    static let broken: [Broken] = {
        let post = "POST /api/v0/customers HTTP/1.1"
        let host = "Host: api.test"
        let hosts = [
            "no Host": [], "two Hosts": [host, host], "two Hosts that differ": [host, "Host: b"],
            "an empty Host": ["Host:"],
            "a Host with a blank": ["Host: a b"], "a Host with a path": ["Host: a/b"],
            "a Host with user information": ["Host: a@b"],
            "a Host with a wrong port": ["Host: a:b"], "a Host that is half an address": ["Host: [::1"],
            "a Host that isn't ASCII": ["Host: ü"],
        ].map { Broken(name: $0, text: request(post, $1)) }
        let lengths = [
            "two lengths that are equal": ["Content-Length: 2", "Content-Length: 2"],
            "two lengths": ["Content-Length: 2", "Content-Length: 3"], "a list of lengths": ["Content-Length: 2, 2"],
            "a length with a sign": ["Content-Length: +2"], "a length with a blank": ["Content-Length: 2 2"],
            "a negative length": ["Content-Length: -2"], "a hexadecimal length": ["Content-Length: 0x2"],
            "a length and chunks": ["Content-Length: 2", "Transfer-Encoding: chunked"],
            "chunks and a length": ["Transfer-Encoding: chunked", "Content-Length: 2"],
            "an unknown coding": ["Transfer-Encoding: xchunked"],
            "a coding before chunks": ["Transfer-Encoding: gzip, chunked"],
            "a coding after chunks": ["Transfer-Encoding: chunked, identity"],
            "chunks twice": ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            "chunks behind a control character": ["Transfer-Encoding: \u{b}chunked"],
        ].map { Broken(name: $0, text: request(post, [host] + $1, body: "{}")) }
        let headers = [
            "a blank before a colon": ["x-actor-id : a"], "a tab before a colon": ["x-actor-id\t: a"],
            "a folded header": ["x-actor-id: a", " b"], "a header that begins with a blank": [" x-actor-id: a"],
            "a header without a colon": ["x-actor-id"], "a header without a name": [": a"],
            "a header whose name isn't a token": ["x(actor): a"], "a NUL in a header": ["x-actor-id: a\u{0}b"],
            "a carriage return in a header": ["x-actor-id: a\rb"],
        ].map { Broken(name: $0, text: request(post, [host] + $1)) }
        let lines = [
            "HTTP/1.0 with chunks": ("POST /x HTTP/1.0", ["Transfer-Encoding: chunked"]),
            "a target without a slash": ("GET x HTTP/1.1", []), "an asterisk for GET": ("GET * HTTP/1.1", []),
            "an authority": ("GET a.example:80 HTTP/1.1", []), "CONNECT": ("CONNECT a.example:443 HTTP/1.1", []),
            "another scheme": ("GET ftp://a.example/ HTTP/1.1", []),
            "an empty authority": ("GET http:///metrics HTTP/1.1", []),
            "user information": ("GET http://a@b.example/metrics HTTP/1.1", []),
            "a fragment": ("GET /metrics#a HTTP/1.1", []), "a target that isn't ASCII": ("GET /metrics?ü HTTP/1.1", []),
            "a blank in the target": ("GET /metrics x HTTP/1.1", []),
            "a method that is no token": ("G(T /metrics HTTP/1.1", []),
            "HTTP/2": ("GET /metrics HTTP/2.0", []), "HTTP/1.2": ("GET /metrics HTTP/1.2", []),
            "no version": ("GET /metrics", []),
        ].map { Broken(name: $0, text: request($1.0, [host] + $1.1)) }
        let expectations = [
            "an unknown expectation": ["Expect: a"], "an expectation too many": ["Expect: 100-continue", "Expect: a"],
        ].map { Broken(name: $0, text: request(post, [host, "Content-Length: 2"] + $1), status: 417) }
        return (hosts + lengths + headers + lines + expectations).sorted { $0.name < $1.name }
    }()

    @Test("are refused when they can be read in more than one way", arguments: broken)
    func refused(broken: Broken) async throws {
        let connection = try RawConnection(port: stage.service.port)

        // What follows must never become an answer.
        await connection.send(broken.text + Self.request("GET /health/live HTTP/1.1", ["Host: a"]))
        let reply = await connection.reply(within: .seconds(10))
        let next = await connection.reply(within: .seconds(10))

        let answer = try #require(reply.answer, "\(reply)")
        #expect(answer.status == broken.status)
        #expect(answer.hasErrorForm, "\(answer)")
        #expect(answer["connection"] == "close")
        #expect(answer["x-request-id"]?.isEmpty == false)
        #expect(next == .closed)
    }

    @Test("are refused behind an answer that is still due, and after it")
    func pipelined() async throws {
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(
            Self.request("GET /health/ready HTTP/1.1", ["Host: a"])
                + Self.request("GET /metrics HTTP/1.1", ["Host: a b"])
                + Self.request("GET /health/live HTTP/1.1", ["Host: a"]))
        var statuses: [Int?] = []
        for _ in 0..<3 { statuses.append(await connection.reply(within: .seconds(10)).answer?.status) }

        #expect(statuses == [200, 400, nil])
    }

    @Test("a request id that the client gave is in the refusal")
    func requestID() async throws {
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(Self.request("GET / HTTP/1.1", ["x-request-id: mine"]))

        #expect(await connection.reply().answer?["x-request-id"] == "mine")
    }

    @Test(
        "what is unusual and plain is served",
        arguments: [
            request("GET http://api.test:1234/health/live HTTP/1.1", ["Host: other.example"]),
            request("GET HTTP://[::1]/health/live?a HTTP/1.1", ["Host: other.example"]),
            request("GET /health/live HTTP/1.0", []), request("GET /health/live HTTP/1.1", ["HOST:\t[::1]:80 "]),
            request("GET /health/live HTTP/1.1", ["Host: a", "Content-Length: 2"], body: "{}"),
            "\r\n" + request("GET /health/live HTTP/1.1", ["Host: a"]),
        ])
    func served(text: String) async throws {
        let connection = try RawConnection(port: stage.service.port)

        await connection.send(text)

        #expect(await connection.reply().answer?.status == 200)
    }
}
