import AuditTrail

/// The description of the API, OpenAPI 3.1.
struct OpenAPI: Sendable {
    typealias Value = JSONReader.Value

    /// `openapi.json`, embedded by the build plugin `EmbedText`.
    static let document = EmbeddedText.files["Sources/CustomerHTTP/OpenAPI/openapi.json"] ?? ""

    let root: Value

    /// - Parameter document: text of the project itself, so of any size.
    init(_ document: String) throws(JSONReader.Malformed) {
        root = try JSONReader.value(of: Array(document.utf8), upTo: .max, members: .max)
    }

    /// The operations of `paths`, or of `webhooks`, in the order of the document.
    func operations(in part: String) -> [Operation] {
        (root[part]?.members ?? []).flatMap { path in
            let shared = path.value["parameters"]?.elements ?? []
            return path.value.members.filter { $0.name != "parameters" }.map { member in
                Operation(
                    method: member.name.uppercased(), path: path.name, value: member.value,
                    parameters: (shared + (member.value["parameters"]?.elements ?? [])).map(resolved))
            }
        }
    }

    /// The components of one kind, in the order of the document.
    func components(_ kind: String) -> [JSONReader.Member] {
        root["components"]?[kind]?.members ?? []
    }

    /// A value, or the component that it refers to, with its name.
    func resolved(_ value: Value) -> (component: String?, value: Value) {
        guard let reference = value["$ref"]?.string else { return (nil, value) }
        let path = reference.drop { $0 == "#" || $0 == "/" }.split(separator: "/").map(String.init)
        let target = path.reduce(Optional(root)) { place, name in place?[name] } ?? .null
        return (path.last, target)
    }

    /// One operation, with the parameters of its path among its own.
    struct Operation: Sendable {
        let method: String
        let path: String
        let value: Value
        let parameters: [(component: String?, value: Value)]

        var id: String { value["operationId"]?.string ?? "" }
        var summary: String { value["summary"]?.string ?? "" }
        var tags: [String] { value["tags"]?.elements.compactMap(\.string) ?? [] }

        /// Whether it is for the holder of an API key: those that aren't say so.
        var needsKey: Bool { value["security"] == nil }
    }
}

extension JSONReader.Value {
    subscript(name: String) -> Self? {
        members.first { $0.name == name }?.value
    }

    var members: [JSONReader.Member] {
        if case .object(let members) = self { members } else { [] }
    }

    var elements: [Self] {
        if case .array(let elements) = self { elements } else { [] }
    }

    var string: String? {
        if case .string(let string) = self { string } else { nil }
    }

    /// The value as JSON in lines, with two spaces for each level, or in one line.
    func json(indented: Bool = true, level: Int = 0) -> String {
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .number(let digits): return digits
        case .string(let string): return JSON.string(string).text
        case .array(let elements):
            return Self.json(
                elements.map { $0.json(indented: indented, level: level + 1) }, in: ("[", "]"), indented, level)
        case .object(let members):
            let members = members.map { member in
                "\(JSON.string(member.name).text): \(member.value.json(indented: indented, level: level + 1))"
            }
            return Self.json(members, in: ("{", "}"), indented, level)
        }
    }

    private static func json(
        _ parts: [String], in brackets: (String, String), _ indented: Bool, _ level: Int
    ) -> String {
        guard indented, !parts.isEmpty else { return brackets.0 + parts.joined(separator: ", ") + brackets.1 }
        let start = "\n" + String(repeating: "  ", count: level)
        return brackets.0 + parts.map { start + "  " + $0 }.joined(separator: ",") + start + brackets.1
    }
}
