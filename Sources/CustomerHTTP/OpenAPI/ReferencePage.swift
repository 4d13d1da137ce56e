import AuditTrail
import Crypto

/// `/reference`: the API for reading, one page made of the description. It holds its style and its script itself, and
/// works without the latter.
struct ReferencePage: Sendable {
    /// Made when it is first asked for.
    static let asset: Asset? = (try? OpenAPI(OpenAPI.document)).map { api in
        Asset(
            ReferencePage(api: api).html.text, type: "text/html; charset=utf-8",
            policy: ["script-src \(hash(script))", "style-src \(hash(style))", "img-src data:"])
    }

    private static let style = file("css")
    private static let script = file("js")

    private static func file(_ ending: String) -> String {
        EmbeddedText.files["Sources/CustomerHTTP/OpenAPI/reference.\(ending)"] ?? ""
    }

    /// Source: W3C, Content Security Policy Level 3, section 2.3.1, hash-source.
    private static func hash(_ text: String) -> String {
        "'sha256-\(Data(SHA256.hash(data: Array(text.utf8))).base64EncodedString())'"
    }

    private let api: OpenAPI
    private let schemas: ReferenceSchemas
    private let curl: CurlCommand
    private let operations: [OpenAPI.Operation]
    private let tags: [OpenAPI.Value]

    init(api: OpenAPI) {
        self.api = api
        schemas = ReferenceSchemas(api: api)
        curl = CurlCommand(api: api)
        operations = api.operations(in: "paths")
        tags = api.root["tags"]?.elements ?? []
    }

    var html: HTML {
        let info = api.root["info"]
        let title = info?["title"]?.string ?? ""
        return """
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <meta name="color-scheme" content="light dark">
            <meta name="robots" content="noindex">
            <title>Reference · \(title)</title>
            <link rel="icon" href="data:,">
            <style>\(verbatim: Self.style)</style>
            </head>
            <body>
            <a class="skip" href="#content">Skip to the operations</a>
            <header>
            <h1>\(title)</h1>
            <p>\(info?["summary"]?.string ?? "")</p>
            </header>
            \(contents)
            <main id="content" tabindex="-1">
            \(introduction)
            \(tags.map(section))
            \(sent)
            \(answers)
            \(headers)
            <section id="schemas" aria-labelledby="schemas-title">
            <h2 id="schemas-title">Bodies</h2>
            <p>An object has no members but these, unless it says so.</p>
            \(schemas.articles)
            </section>
            </main>
            <script>\(verbatim: Self.script)</script>
            </body>
            </html>

            """
    }

    // MARK: - Around the operations

    private var contents: HTML {
        let groups: [HTML] = tags.map { tag in
            let items: [HTML] = operations(of: tag).map { operation in
                """
                <li data-words="\(words(of: operation))"><a href="#\(operation.id)">\(operation.summary)</a></li>
                """
            }
            return "<p>\(Self.title(of: tag))</p>\n<ul>\n\(items)\n</ul>"
        }
        return """
            <nav aria-label="Contents">
            <div id="filter"></div>
            <p><a href="#introduction">Introduction</a></p>
            \(groups)
            <p><a href="#sent">What webhooks get</a></p>
            <p><a href="#answers">Shared answers</a></p>
            <p><a href="#headers">Headers of answers</a></p>
            <p><a href="#schemas">Bodies</a></p>
            </nav>
            """
    }

    private var introduction: HTML {
        let keys: [HTML] = api.components("securitySchemes").map { scheme in
            """
            <div><dt><code>\(scheme.value["name"]?.string ?? "")</code></dt>
            <dd>\(scheme.value["description"]?.string ?? "")</dd></div>
            """
        }
        return """
            <section id="introduction" aria-labelledby="introduction-title">
            <h2 id="introduction-title">Introduction</h2>
            <p>\(api.root["info"]?["description"]?.string ?? "")</p>
            <p>Made from <a href="/openapi.json">openapi.json</a>, which tools read.</p>
            <h3>API key</h3>
            <p>Two headers, each exactly once, unless an operation says that it needs none:</p>
            <dl>
            \(keys)
            </dl>
            <h3>Commands</h3>
            <p>Each operation has a command for a shell. They take what is yours from variables:</p>
            <pre id="preparation"><code>\(curl.preparation)</code></pre>
            </section>
            """
    }

    private func section(of tag: OpenAPI.Value) -> HTML {
        let name = tag["name"]?.string ?? ""
        return """
            <section id="tag-\(name)" aria-labelledby="tag-\(name)-title">
            <h2 id="tag-\(name)-title">\(Self.title(of: tag))</h2>
            <p>\(tag["description"]?.string ?? "")</p>
            \(operations(of: tag).map { article($0, isSent: false) })
            </section>
            """
    }

    /// What the service itself sends.
    private var sent: HTML {
        """
        <section id="sent" aria-labelledby="sent-title">
        <h2 id="sent-title">What webhooks get</h2>
        <p>Requests that the service sends to the address of a webhook.</p>
        \(api.operations(in: "webhooks").map { article($0, isSent: true) })
        </section>
        """
    }

    private func operations(of tag: OpenAPI.Value) -> [OpenAPI.Operation] {
        operations.filter { $0.tags.first == tag["name"]?.string }
    }

    private static func title(of tag: OpenAPI.Value) -> String {
        let name = tag["name"]?.string ?? ""
        return name.prefix(1).uppercased() + name.dropFirst()
    }

    /// What the filter looks for.
    private func words(of operation: OpenAPI.Operation) -> String {
        "\(operation.method) \(operation.path) \(operation.id) \(operation.summary)".lowercased()
    }

    // MARK: - One operation

    /// - Parameter isSent: whether the service sends it, and its reader answers.
    private func article(_ operation: OpenAPI.Operation, isSent: Bool) -> HTML {
        let id = operation.id
        let command: HTML = """
            <h4>Command</h4>
            <pre class="curl"><code>\(curl.text(operation))</code></pre>
            """
        return """
            <article id="\(id)" aria-labelledby="\(id)-title" data-words="\(words(of: operation))">
            <h3 id="\(id)-title"><a href="#\(id)">\(operation.summary)</a></h3>
            <p class="route"><span class="method">\(operation.method)</span> \(isSent ? nil : "<code>\(operation.path)</code>") \
            <span class="in">\(id)</span></p>
            \(operation.value["description"]?.string.map { "<p>\($0)</p>" })
            \(operation.needsKey || isSent ? nil : "<p>Needs no API key.</p>")
            \(isSent ? nil : command)
            \(parameters(of: operation))
            \(operation.value["requestBody"].map(requestBody))
            <h4>Answers</h4>
            <dl class="answers">
            \((operation.value["responses"]?.members ?? []).map { answer($0, of: operation) })
            </dl>
            </article>
            """
    }

    private func parameters(of operation: OpenAPI.Operation) -> HTML? {
        guard !operation.parameters.isEmpty else { return nil }
        let items: [HTML] = operation.parameters.map { _, parameter in
            let isRequired = parameter["required"] == .bool(true)
            return """
                <div><dt><code>\(parameter["name"]?.string ?? "")</code> \
                <span class="in">\(parameter["in"]?.string ?? "")</span>\
                \(isRequired ? " <strong>required</strong>" : nil)</dt>
                <dd>\(schemas.phrase(parameter["schema"] ?? .null)). \(parameter["description"]?.string ?? "")\
                \(examples(of: parameter))</dd></div>
                """
        }
        return "<h4>Parameters</h4>\n<dl class=\"parameters\">\n\(items)\n</dl>"
    }

    private func requestBody(_ body: OpenAPI.Value) -> HTML {
        """
        <h4>Body\(body["required"] == .bool(true) ? " <strong>required</strong>" : nil)</h4>
        \(content(of: body))
        """
    }

    private func answer(_ member: JSONReader.Member, of operation: OpenAPI.Operation) -> HTML {
        let (component, response) = api.resolved(member.value)
        let description = response["description"]?.string ?? ""
        let text: HTML =
            if let component { "<a href=\"#answer-\(component)\">\(description)</a>" } else {
                """
                <p>\(description)</p>
                \(headers(of: response))
                \(content(of: response))
                \(next(after: response))
                """
            }
        return """
            <div id="\(operation.id)-\(member.name)"><dt><code>\(member.name)</code></dt>
            <dd>\(text)</dd></div>
            """
    }

    /// Bodies, by their types.
    private func content(of holder: OpenAPI.Value) -> HTML {
        let types: [HTML] = (holder["content"]?.members ?? []).map { type in
            """
            <div class="content"><p><code>\(type.name)</code>: \(schemas.phrase(type.value["schema"] ?? .null))</p>
            \(schemas.inner(type.value["schema"] ?? .null))
            \(examples(of: type.value))</div>
            """
        }
        return "\(types)"
    }

    private func headers(of response: OpenAPI.Value) -> HTML? {
        guard let headers = response["headers"]?.members, !headers.isEmpty else { return nil }
        let names: [HTML] = headers.map { header in
            let component = api.resolved(header.value).component ?? header.name
            return "<a href=\"#header-\(component)\"><code>\(header.name)</code></a>"
        }
        return "<p class=\"names\">Headers: \(names.joined(by: ", "))</p>"
    }

    /// The operations that a response leads to.
    private func next(after response: OpenAPI.Value) -> HTML? {
        let links = (response["links"]?.members ?? []).compactMap { link in
            api.resolved(link.value).value["operationId"]?.string
        }
        guard !links.isEmpty else { return nil }
        let names: [HTML] = Set(links).sorted().map { "<a href=\"#\($0)\">\($0)</a>" }
        return "<p class=\"names\">Leads to: \(names.joined(by: ", "))</p>"
    }

    private func examples(of holder: OpenAPI.Value) -> HTML? {
        let named = (holder["examples"]?.members ?? []).map { api.resolved($0.value).value["value"] ?? .null }
        let all = (holder["example"].map { [$0] } ?? []) + named
        guard !all.isEmpty else { return nil }
        let texts: [HTML] = all.map { value in
            guard case .object = value else {
                return "<code class=\"example\">\(value.string ?? value.json(indented: false))</code>"
            }
            return "<pre class=\"example\"><code>\(value.json())</code></pre>"
        }
        return "<div class=\"examples\"><span>\(all.count == 1 ? "Example" : "Examples"):</span> \(texts)</div>"
    }

    // MARK: - What operations share

    private var answers: HTML {
        let articles: [HTML] = api.components("responses").map { component in
            """
            <article id="answer-\(component.name)">
            <h3><a href="#answer-\(component.name)">\(status(of: component)) \(component.name)</a></h3>
            <p>\(component.value["description"]?.string ?? "")</p>
            \(headers(of: component.value))
            \(content(of: component.value))
            </article>
            """
        }
        return """
            <section id="answers" aria-labelledby="answers-title">
            <h2 id="answers-title">Shared answers</h2>
            <p>Mostly errors, which all have the same three members.</p>
            \(articles)
            </section>
            """
    }

    /// The status with which operations give a shared answer; of one that no operation names, that of its example.
    private func status(of component: JSONReader.Member) -> String {
        let uses = operations.lazy.flatMap { $0.value["responses"]?.members ?? [] }
        if let use = uses.first(where: { self.api.resolved($0.value).component == component.name }) { return use.name }
        let example = component.value["content"]?["application/json"]?["example"]
        return example?["statusCode"]?.json() ?? ""
    }

    private var headers: HTML {
        let names = Dictionary(
            api.components("responses").map(\.value).flatMap(namedHeaders)
                + operations.flatMap { $0.value["responses"]?.members ?? [] }.map(\.value).flatMap(namedHeaders),
            uniquingKeysWith: { first, _ in first })
        let items: [HTML] = api.components("headers").map { component in
            let isRequired = component.value["required"] == .bool(true)
            return """
                <div id="header-\(component.name)"><dt><code>\(names[component.name] ?? component.name)</code> \
                \(isRequired ? "always" : "not always")</dt>
                <dd>\(schemas.phrase(component.value["schema"] ?? .null)). \
                \(component.value["description"]?.string ?? "")</dd></div>
                """
        }
        return """
            <section id="headers" aria-labelledby="headers-title">
            <h2 id="headers-title">Headers of answers</h2>
            <dl>
            \(items)
            </dl>
            </section>
            """
    }

    /// Components and the names that a response's headers have in it.
    private func namedHeaders(of response: OpenAPI.Value) -> [(String, String)] {
        (response["headers"]?.members ?? []).compactMap { header in
            api.resolved(header.value).component.map { ($0, header.name) }
        }
    }
}
