import Foundation
import TestSupport
import Testing

/// The page is made of openapi.json: everything that one says, the other does. Tests/System/reference uses it in a browser
/// and runs its commands.
@Suite("The reference", .unlimitedStage())
struct ReferenceTests {
    @Test("it is served to anybody, under a policy that lets in nothing from elsewhere")
    func served() async throws {
        let answer = try await get("/reference")

        #expect(answer.status == 200)
        #expect(answer["content-type"] == "text/html; charset=utf-8")
        #expect(answer["cache-control"] == "no-cache")
        #expect(answer["x-content-type-options"] == "nosniff")
        #expect(answer["referrer-policy"] == "no-referrer")
        let policy = try #require(answer["content-security-policy"])
        #expect(policy.hasPrefix("default-src 'none'; script-src 'sha256-"))
        #expect(policy.firstMatch(of: /unsafe|'self'|http|\*/) == nil)
        #expect(answer.body.firstMatch(of: /src=|style=|\son[a-z]+=|@import|url\(/) == nil)
    }

    @Test("a client that has the page gets a 304")
    func revalidated() async throws {
        let etag = try #require(try await get("/reference")["etag"])

        let answer = try await get("/reference", [("if-none-match", etag)])

        #expect(answer.status == 304 && answer.body.isEmpty && answer["etag"] == etag)
    }

    @Test("it has every operation, in words, and no other")
    func operations() async throws {
        let (api, page) = try await both()

        #expect(page.operations == api.operations.map { "\($0.id): \($0.method) \($0.path), \($0.summary)" }.sorted())
        for operation in api.operations {
            let article = try page.article(operation.id)
            #expect(article.says(operation.description), "\(operation.id)")
            #expect(article.contains("Needs no API key.") == !operation.needsKey, "\(operation.id)")
            #expect(article.contains("<pre class=\"curl\"><code>curl -i "), "\(operation.id)")
        }
    }

    @Test("each operation has its parameters, and no other")
    func parameters() async throws {
        let (api, page) = try await both()

        for operation in api.operations + api.webhooks {
            let article = try page.article(operation.id)
            let shown = article.matches(of: Page.parameter).map { match in
                "\(match.name) in \(match.place)\(match.required == nil ? "" : ", required")"
            }
            #expect(shown == operation.parameters.map(\.line), "\(operation.id)")
            for parameter in operation.parameters {
                #expect(article.says(parameter.description), "\(operation.id), \(parameter.line)")
            }
        }
    }

    @Test("each operation has its answers with their headers, types and examples, and no other")
    func answers() async throws {
        let (api, page) = try await both()

        for operation in api.operations + api.webhooks {
            let article = try page.article(operation.id)
            let shown = article.matches(of: Page.answer).map { "\($0.operation) \($0.status)" }
            #expect(shown == operation.answers.map { "\(operation.id) \($0.status)" }, "\(operation.id)")
            for answer in operation.answers {
                let place = try answer.component.map { try page.article("answer-\($0)") } ?? article
                let what = "\(operation.id), \(answer.status)"
                #expect(article.says(answer.description), "\(what)")
                for text in answer.texts {
                    #expect(place.says(text), "\(what): \(text)")
                }
                #expect(answer.component.map { article.contains("href=\"#answer-\($0)\"") } ?? true, "\(what)")
            }
        }
    }

    @Test("bodies of requests are there, with their examples")
    func bodies() async throws {
        let (api, page) = try await both()

        for operation in api.operations where operation.hasBody {
            let article = try page.article(operation.id)
            #expect(article.contains("<h4>Body"), "\(operation.id)")
            for text in operation.bodyTexts {
                #expect(article.says(text), "\(operation.id): \(text)")
            }
        }
    }

    @Test("every member of every body, and every header, is there with its description")
    func components() async throws {
        let (api, page) = try await both()

        for (name, texts) in api.schemas {
            let article = try page.article("schema-\(name)")
            for text in texts { #expect(article.says(text), "\(name): \(text)") }
        }
        for (name, description) in api.headers {
            let start = try #require(page.text.firstRange(of: "id=\"header-\(name)\""), "\(name)")
            #expect(page.text[start.upperBound...].prefix(500).says(description), "\(name)")
        }
    }

    @Test("every link leads to a place of the page, and every place has one name")
    func anchors() async throws {
        let (_, page) = try await both()

        let ids = page.text.matches(of: /\sid="(?<id>[^"]+)"/).map { String($0.id) }
        let links = page.text.matches(of: /\shref="(?<link>[^"]+)"/).map { String($0.link) }

        #expect(ids.count == Set(ids).count)
        #expect(Set(links).subtracting(ids.map { "#\($0)" }) == ["/openapi.json", "data:,"])
    }

    private func both() async throws -> (api: Description, page: Page) {
        let description = try await get("/openapi.json").body
        return (try Description(description), Page(text: try await get("/reference").body))
    }

    private func get(_ path: String, _ headers: [(name: String, value: String)] = []) async throws -> HTTPAnswer {
        try await HTTPCall("GET", path, headers: headers).send(to: Stage.current.service.port)
    }
}

/// The page as its text, and where in it things stand.
private struct Page {
    let text: String

    // Regular expressions aren't Sendable.
    static var parameter: Regex<(Substring, name: Substring, place: Substring, required: Substring?)> {
        #/<dt><code>(?<name>[^<]+)</code> <span class="in">(?<place>[a-z]+)</span>(?<required> <strong>required</strong>)?</dt>/#
    }

    static var answer: Regex<(Substring, operation: Substring, status: Substring)> {
        #/<div id="(?<operation>[A-Za-z]+)-(?<status>[0-9X]+)"><dt><code>\k<status></code></dt>/#
    }

    /// `id: METHOD /path, summary` of each operation that clients call.
    var operations: [String] {
        let operation =
            #/<article id="(?<id>[A-Za-z]+)" [^>]*>\n<h3 [^>]*><a href="\#\k<id>">(?<summary>[^<]+)</a></h3>\n<p class="route"><span class="method">(?<method>[A-Z]+)</span> <code>(?<path>[^<]+)</code>/#
        return text.matches(of: operation).map { match in
            "\(match.id): \(match.method) \(match.path), \(match.summary.replacing("&#39;", with: "'"))"
        }.sorted()
    }

    func article(_ id: String) throws -> Substring {
        let start = try #require(text.firstRange(of: "<article id=\"\(id)\""), "\(id)")
        let rest = text[start.lowerBound...]
        return rest[..<(try #require(rest.firstRange(of: "</article>"))).upperBound]
    }

}

extension Substring {
    /// Whether a text stands there, or there is none to stand there.
    fileprivate func says(_ text: String) -> Bool {
        let escapes = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")]
        return text.isEmpty || contains(escapes.reduce(text) { $0.replacing($1.0, with: $1.1) })
    }
}

/// openapi.json, read by another reader than the service's.
private struct Description {
    typealias Members = [String: Any]

    struct Parameter {
        let line, description: String
    }

    struct Answer {
        let status, description: String
        let component: String?
        /// Names of headers, types, and what the examples say.
        let texts: [String]
    }

    struct Operation {
        let id, method, path, summary, description: String
        let needsKey, hasBody: Bool
        let parameters: [Parameter]
        let answers: [Answer]
        let bodyTexts: [String]
    }

    private let root: Members
    private(set) var operations: [Operation] = []
    private(set) var webhooks: [Operation] = []

    init(_ text: String) throws {
        root = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? Members)
        operations = try operations(in: "paths")
        webhooks = try operations(in: "webhooks")
    }

    /// What the articles of the schemas must say: names and descriptions of members, on every level.
    var schemas: [(name: String, texts: [String])] {
        components("schemas").map { name, schema in (name, texts(of: schema)) }
    }

    var headers: [(name: String, description: String)] {
        components("headers").map { name, header in (name, (header as? Members)?["description"] as? String ?? "") }
    }

    private func components(_ kind: String) -> Members {
        (root["components"] as? Members)?[kind] as? Members ?? [:]
    }

    private func texts(of schema: Any) -> [String] {
        guard let schema = schema as? Members else { return [] }
        let members = schema["properties"] as? Members ?? [:]
        let parts = ["anyOf", "oneOf", "allOf"].flatMap { schema[$0] as? [Any] ?? [] } + [schema["items"] as Any]
        return members.flatMap { name, member in
            [name, (member as? Members)?["description"] as? String ?? ""] + texts(of: member)
        } + parts.flatMap(texts)
    }

    private func operations(in part: String) throws -> [Operation] {
        let items = try #require(root[part] as? [String: Members])
        return try items.flatMap { path, item in
            try item.filter { $0.key != "parameters" }.map { method, value in
                try operation(
                    method.uppercased(), path, try #require(value as? Members), item["parameters"] as? [Members] ?? [])
            }
        }
    }

    private func operation(_ method: String, _ path: String, _ value: Members, _ shared: [Members]) throws -> Operation
    {
        let described = shared + (value["parameters"] as? [Members] ?? [])
        let parameters = described.map { parameter in
            let parameter = resolved(parameter).value
            let required = parameter["required"] as? Bool == true ? ", required" : ""
            return Parameter(
                line: "\(parameter["name"] ?? "") in \(parameter["in"] ?? "")\(required)",
                description: parameter["description"] as? String ?? "")
        }
        // Not in the order of the document, which this reader doesn't keep.
        let answers = try #require(value["responses"] as? [String: Members]).sorted { $0.key < $1.key }.map { answer in
            let (component, response) = resolved(answer.value)
            return Answer(
                status: answer.key, description: response["description"] as? String ?? "", component: component,
                texts: (response["headers"] as? Members ?? [:]).keys + contentTexts(of: response))
        }
        let body = value["requestBody"] as? Members
        return Operation(
            id: try #require(value["operationId"] as? String), method: method, path: path,
            summary: try #require(value["summary"] as? String), description: value["description"] as? String ?? "",
            needsKey: value["security"] == nil, hasBody: body != nil, parameters: parameters, answers: answers,
            bodyTexts: body.map(contentTexts) ?? [])
    }

    private func contentTexts(of holder: Members) -> [String] {
        (holder["content"] as? [String: Members] ?? [:]).flatMap { type, media in
            let named = media["examples"] as? [String: Members] ?? [:]
            let examples = named.values.map { resolved($0).value["value"] as Any }
            let reference = (media["schema"] as? Members)?["$ref"] as? String
            let schema = reference?.split(separator: "/").last.map(String.init) ?? ""
            let all: [Any] = [media["example"] as Any] + examples
            return [type, schema] + all.flatMap(strings)
        }
    }

    /// The names and strings within an example.
    private func strings(_ value: Any) -> [String] {
        switch value {
        case let string as String: [string]
        case let members as Members: members.flatMap { [$0.key] + strings($0.value) }
        case let elements as [Any]: elements.flatMap(strings)
        default: []
        }
    }

    private func resolved(_ value: Members) -> (component: String?, value: Members) {
        guard let reference = value["$ref"] as? String else { return (nil, value) }
        let path = reference.split(separator: "/").dropFirst().map(String.init)
        let target = path.reduce(root as Any?) { ($0 as? Members)?[$1] }
        return (path.last, target as? Members ?? [:])
    }
}
