import TestSupport
import Testing

/// How the desk is served; Tests/System/console uses it in a browser.
@Suite("The console's files", .unlimitedStage())
struct ConsoleTests {
    static let files: [(path: String, contentType: String)] = [
        ("/console", "text/html; charset=utf-8"),
        ("/console/index.html", "text/html; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/main.js", "text/javascript; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ]

    @Test("each is served to anybody, under a policy that lets in nothing else", arguments: files)
    func served(path: String, contentType: String) async throws {
        let answer = try await get(path)

        #expect(answer.status == 200)
        #expect(answer["content-type"] == contentType)
        #expect(answer["cache-control"] == "no-cache")
        #expect(answer["x-content-type-options"] == "nosniff")
        #expect(answer["referrer-policy"] == "no-referrer")
        let policy = try #require(answer["content-security-policy"]).split(separator: "; ")
        #expect(
            Array(policy.prefix(8)) == [
                "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'",
                "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
            ])
        #expect(!policy.contains { $0.contains("unsafe") || $0.contains("http:") || $0.contains("*") })
    }

    @Test("a client that has the file gets a 304, and one that has another gets the file", arguments: files)
    func revalidated(path: String, _: String) async throws {
        let etag = try #require(try await get(path)["etag"])

        for known in [etag, "W/\(etag)", "\"other\", \(etag)", "*"] {
            let answer = try await get(path, [("if-none-match", known)])
            #expect(answer.status == 304 && answer.body.isEmpty && answer["etag"] == etag, "\(known)")
        }
        let other = try await get(path, [("if-none-match", "\"other\"")])
        #expect(other.status == 200 && !other.body.isEmpty)
    }

    @Test("the page refers to files that are there, and holds no script or style itself")
    func references() async throws {
        let page = try await get("/console").body

        let references = page.matches(of: /(?:src|href)="(?<path>[^"#]+)"/).map { String($0.path) }
        #expect(references.count >= 3)
        for path in Set(references) {
            #expect(try await get(path).status == 200, "\(path)")
        }
        #expect(page.firstMatch(of: /<style|style=|<script(?![^>]*src=)|\son[a-z]+=/) == nil)
    }

    @Test("each module imports modules that are there")
    func modules() async throws {
        var (known, next): (Set<String>, [String]) = (["main.js"], ["main.js"])

        while let module = next.popLast() {
            let answer = try await get("/console/\(module)")
            #expect(answer.status == 200, "\(module)")
            let imported = answer.body.matches(of: /from "\.\/(?<name>[^"]+)"/).map { String($0.name) }
            next += Set(imported).subtracting(known)
            known.formUnion(imported)
        }

        #expect(known.isSuperset(of: ["api.js", "customer.js", "trail.js", "verify.js"]))
    }

    @Test(
        "another name is an unknown route",
        arguments: ["/console/none.js", "/console/..%2Fopenapi.json", "/console/a/b"])
    func unknown(path: String) async throws {
        let answer = try await get(path)

        #expect(answer.status == 404)
        #expect(answer.hasErrorForm)
    }

    private func get(_ path: String, _ headers: [(name: String, value: String)] = []) async throws -> HTTPAnswer {
        try await Stage.current.tenant().send(HTTPCall("GET", path, headers: headers))
    }
}
