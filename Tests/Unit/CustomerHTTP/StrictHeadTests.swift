import Customers
import Hummingbird
import NIOHTTP1
import Testing

@testable import CustomerHTTP

@Suite("The head of a request")
struct StrictHeadTests {
    private func head(
        _ headers: [(String, String)] = [("Host", "api.test")], _ target: String = "/x", _ method: HTTPMethod = .GET,
        version: HTTPVersion = .http1_1
    ) throws -> StrictHead {
        try StrictHead(HTTPRequestHead(version: version, method: method, uri: target, headers: HTTPHeaders(headers)))
    }

    private func refusal(_ body: () throws -> StrictHead) -> String? {
        do {
            _ = try body()
            return nil
        } catch {
            return (error as? APIError)?.message
        }
    }

    @Test(
        "a host is a name or an address, and perhaps a port",
        arguments: [
            "localhost", "api.example.com", "API.example.com:8080", "192.0.2.1", "192.0.2.1:80", "[::1]",
            "[2001:db8::1]:443",
            "a_b", "xn--80ak6aa92e.com", "a%20b", "host:", "a,b",
        ])
    func hosts(host: String) throws {
        #expect(try head([("host", host)]).head.headers["host"] == [host])
    }

    @Test(
        "anything else is none",
        arguments: [
            "", " ", "a b", "a/b", "a@b", "a:b", "a:65536", "a:123456", "a:80:80", "[::1", "::1", "[::1]x", "[1.2.3.4]",
            "[fe80::1%25eth0]", "[v1.a]", "a%2", "ü", "a?", "a#", "http://a", ":80",
        ])
    func noHosts(host: String) {
        #expect(refusal { try head([("host", host)]) } == "Host must be a host name or address, and a port")
    }

    @Test("blanks around a value are none of it, other white space is")
    func blanks() throws {
        #expect(try head([("host", "\t a \t")]).head.headers["host"] == ["a"])
        #expect(refusal { try head([("host", "a\u{b}")]) } != nil)
        #expect(refusal { try head([("host", "a"), ("transfer-encoding", "\u{b}chunked")]) } != nil)
        #expect(try !head([("host", "a"), ("connection", " close\t")]).isPersistent)
    }

    @Test("HTTP/1.1 has one, HTTP/1.0 at most one")
    func numberOfHosts() throws {
        let two = [("host", "a"), ("Host", "a")]
        #expect(refusal { try head([]) } == "Host must be given exactly once")
        #expect(refusal { try head(two) } == "Host must be given exactly once")
        #expect(refusal { try head(two, version: .http1_0) } == "Host must be given exactly once")
        #expect(try head([], version: .http1_0).head.headers["host"] == [])
        #expect(refusal { try head(version: .init(major: 1, minor: 2)) } == "HTTP version must be 1.0 or 1.1")
    }

    @Test(
        "a connection ends when the client or its version says so",
        arguments: [
            ([], HTTPVersion.http1_1, true), (["close"], .http1_1, false), (["Close"], .http1_1, false),
            (["foo, CLOSE"], .http1_1, false), (["keep-alive", "close"], .http1_1, false),
            (["keep-alive"], .http1_1, true),
            (["closed"], .http1_1, true), ([], .http1_0, false), (["Keep-Alive"], .http1_0, true),
            (["keep-alive, close"], .http1_0, false),
        ])
    func persistence(options: [String], version: HTTPVersion, isPersistent: Bool) throws {
        let strict = try head([("host", "a")] + options.map { ("Connection", $0) }, version: version)
        #expect(strict.isPersistent == isPersistent)
        #expect(strict.head.headers["connection"] == (isPersistent ? [] : ["close"]))
    }

    @Test("a request to change the protocol is the last, as nothing behind it is read")
    func upgrade() throws {
        let strict = try head([("host", "a"), ("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")])
        #expect(!strict.isPersistent)
    }

    @Test("where a body ends is beyond doubt")
    func framing() {
        func refused(_ headers: [(String, String)], _ version: HTTPVersion = .http1_1) -> String? {
            refusal { try head([("host", "a")] + headers, "/x", .POST, version: version) }
        }
        #expect(refused([("content-length", "5")]) == nil)
        #expect(refused([("Transfer-Encoding", "Chunked")]) == nil)
        #expect(refused([("transfer-encoding", "chunked")], .http1_0) == "HTTP/1.0 has no Transfer-Encoding")
        #expect(
            refused([("transfer-encoding", "chunked"), ("content-length", "5")])
                == "Content-Length and Transfer-Encoding exclude each other")
        for coding in ["gzip", "gzip, chunked", "chunked, chunked", "identity", ""] {
            #expect(refused([("transfer-encoding", coding)]) == "Transfer-Encoding must be chunked")
        }
        for length in ["", "+5", "-5", "5, 5", "5 5", "0x5", "99999999999999999999"] {
            #expect(refused([("content-length", length)]) == "Content-Length must be one number")
        }
        #expect(refused([("content-length", "5"), ("content-length", "5")]) == "Content-Length must be one number")
    }

    @Test("100-continue is an expectation of a request with a body, and no other is met")
    func expectations() throws {
        let body = [("host", "a"), ("content-length", "5")]
        #expect(try head(body + [("expect", "100-continue")]).expectsContinue)
        #expect(try head(body + [("Expect", "100-Continue")]).expectsContinue)
        #expect(try !head(body + [("expect", "100-continue")], version: .http1_0).expectsContinue)
        #expect(try !head([("host", "a"), ("expect", "100-continue")]).expectsContinue)
        #expect(try !head([("host", "a"), ("content-length", "0"), ("expect", "100-continue")]).expectsContinue)
        #expect(throws: APIError.expectationFailed) { try head(body + [("expect", "200-ok")]) }
        #expect(throws: APIError.expectationFailed) { try head(body + [("expect", "100-continue, x=y")]) }
    }

    @Test(
        "a target is a path, also in absolute form",
        arguments: [
            ("/a?b=c", "/a?b=c", "api.test"), ("http://other.example/a?b", "/a?b", "other.example"),
            ("HTTPS://other.example:443", "/", "other.example:443"), ("http://a?b", "/?b", "a"),
            ("//a", "//a", "api.test"),
        ])
    func targets(target: String, path: String, host: String) throws {
        let strict = try head([("host", "api.test")], target)
        #expect(strict.head.uri == path)
        #expect(strict.head.headers["host"] == [host])
    }

    @Test(
        "and nothing else",
        arguments: [
            ("a", HTTPMethod.GET), ("", .GET), ("*", .GET), ("a.example:443", .CONNECT), ("ftp://a/", .GET),
            ("http:///a", .GET),
            ("http://a@b/", .GET), ("/a#b", .GET), ("/ü", .GET), ("/\u{fffd}", .GET), ("?a", .GET),
        ])
    func noTargets(target: String, method: HTTPMethod) {
        #expect(refusal { try head([("host", "a")], target, method) }?.hasPrefix("The request target must ") == true)
    }

    @Test(
        "a path is what the routes say, letter for letter",
        arguments: [
            ("/", true), ("/a", true), ("/a/b.c", true), ("/a/%41", true), ("/a/...", true), ("/a/b%20c", true),
            ("/a/%zz", true),
            ("", false), ("*", false), ("a", false), ("//", false), ("//a", false), ("/a/", false), ("/a//b", false),
            ("/./a", false), ("/a/.", false), ("/a/../b", false), ("/a/%2e%2E/b", false), ("/a/.%2e", false),
            ("/a%2Fb", false), ("/a/b%2f", false), ("/a%5cb", false), ("/a\\b", false),
        ])
    func paths(path: String, isPlain: Bool) {
        #expect(PathTable.isPlain(path) == isPlain)
    }
}

@Suite("Entity tags")
struct EntityTagsTests {
    @Test(
        "are read as a list, in which a comma may be part of a tag",
        arguments: [
            (["\"a\""], ["\"a\""]), (["\"a\",\"b\"", "\"c\""], ["\"a\"", "\"b\"", "\"c\""]), (["\"a,b\""], ["\"a,b\""]),
            ([", \"a\" ,, "], ["\"a\""]), (["W/\"a\", \"b\""], ["\"b\""]), (["*"], ["*"]), ([" * "], ["*"]),
            (["\"\""], ["\"\""]),
            (["\"*\""], ["\"*\""]), (["\"ü\""], ["\"ü\""]),
        ])
    func lists(values: [String], strong: [String]) {
        #expect(EntityTags(values)?.strong == strong)
    }

    @Test(
        "hold nothing when they aren't well-formed",
        arguments: [
            [""], [","], ["a"], ["\"a"], ["\"a\" \"b\""], ["\"a\"b"], ["w/\"a\""], ["*, \"a\""], ["*", "*"],
            ["\"a b\""],
        ])
    func malformed(values: [String]) {
        #expect(EntityTags(values) == .these([]))
    }

    @Test("are compared weakly and strongly")
    func comparison() {
        #expect(EntityTags([]) == nil)
        #expect(EntityTags(["W/\"a\""])?.containsWeakly("\"a\"") == true)
        #expect(EntityTags(["\"a\""])?.containsWeakly("W/\"a\"") == true)
        #expect(EntityTags(["\"b\", W/\"a\""])?.containsWeakly("\"a\"") == true)
        #expect(EntityTags(["\"b\""])?.containsWeakly("\"a\"") == false)
        #expect(EntityTags(["*"])?.containsWeakly("\"a\"") == true)
        #expect(EntityTags(["W/\"a\""])?.strong == [])
    }
}
