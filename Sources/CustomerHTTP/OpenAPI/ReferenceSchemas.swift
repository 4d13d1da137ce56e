import AuditTrail

/// What JSON Schema says of a value, in words.
///
/// Source: JSON Schema 2020-12, of which openapi.json uses these keywords.
struct ReferenceSchemas: Sendable {
    let api: OpenAPI

    /// The schemas that have names, each with its members.
    var articles: [HTML] {
        api.components("schemas").map { component in
            """
            <article id="schema-\(component.name)">
            <h3><a href="#schema-\(component.name)">\(component.name)</a></h3>
            <p>\(phrase(component.value)). \(component.value["description"]?.string ?? "")</p>
            \(inner(component.value))
            </article>
            """
        }
    }

    /// What a value may be, in one phrase; a schema that has a name is a link to it.
    func phrase(_ schema: OpenAPI.Value) -> HTML {
        ([kind(of: schema)] + rules(of: schema)).joined(by: ", ")
    }

    /// The members of an object, and of objects within it that have no name.
    func inner(_ schema: OpenAPI.Value) -> HTML? {
        let within = holders(in: schema).map { part -> HTML? in
            inner(part).map { members in
                "\(part["description"]?.string.map { text in "<p>\(text)</p>" })\(members)"
            }
        }
        let parts = ([members(of: schema)] + within).compactMap(\.self)
        return parts.isEmpty ? nil : "\(parts)"
    }

    private func members(of schema: OpenAPI.Value) -> HTML? {
        guard let properties = schema["properties"]?.members, !properties.isEmpty else { return nil }
        let required = Set(schema["required"]?.elements.compactMap(\.string) ?? [])
        let items: [HTML] = properties.map { property in
            """
            <div><dt><code>\(property.name)</code>\
            \(required.contains(property.name) ? " <strong>required</strong>" : nil)</dt>
            <dd>\(phrase(property.value)). \(property.value["description"]?.string ?? "")\(inner(property.value))</dd></div>
            """
        }
        return "<dl class=\"members\">\n\(items)\n</dl>"
    }

    /// The schemas within a schema that may describe an object: of elements, of alternatives.
    private func holders(in schema: OpenAPI.Value) -> [OpenAPI.Value] {
        (schema["items"].map { [$0] } ?? [])
            + ["anyOf", "oneOf", "allOf"].flatMap { schema[$0]?.elements ?? [] }
    }

    private func kind(of schema: OpenAPI.Value) -> HTML {
        if let name = api.resolved(schema).component { return "<a href=\"#schema-\(name)\">\(name)</a>" }
        if let constant = schema["const"] { return "<code>\(Self.code(constant))</code>" }
        if let values = schema["enum"]?.elements {
            return values.map { "<code>\(Self.code($0))</code>" }.joined(by: ", ")
        }
        for (keyword, word) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
            guard let parts = schema[keyword]?.elements else { continue }
            return parts.map(phrase).joined(by: word)
        }
        let types = schema["type"]?.elements.compactMap(\.string) ?? []
        let names = (schema["type"]?.string.map { [$0] } ?? types).map { type -> HTML in
            switch type {
            case "array": "array of \(schema["items"].map(phrase) ?? "anything")"
            case "string": Self.formats[schema["format"]?.string ?? ""].map { "\($0)" } ?? "string"
            default: "\(type)"
            }
        }
        if !names.isEmpty { return names.joined(by: " or ") }
        // Part of an alternative, whose type stands beside it.
        if let format = schema["format"]?.string.flatMap({ Self.formats[$0] }) { return "\(format)" }
        return schema["pattern"] == nil ? "anything" : "string"
    }

    private static let formats = ["uuid": "UUID", "date-time": "RFC 3339 time", "uri": "URL", "byte": "base64"]

    private func rules(of schema: OpenAPI.Value) -> [HTML] {
        let numbers = range(schema, "minimum", "maximum")
        let rules: [HTML?] = [
            numbers.map { number in "\(number)" },
            range(schema, "minLength", "maxLength").map { "\($0) characters" },
            range(schema, "minItems", "maxItems").map { "\($0) elements" },
            range(schema, "minProperties", "maxProperties").map { "\($0) members" },
            schema["uniqueItems"] == .bool(true) ? "no duplicates" : nil,
            schema["pattern"]?.string.map { "matching <code>\($0)</code>" },
            schema["default"].map { "default <code>\(Self.code($0))</code>" },
            schema["examples"]?.elements.first.map { "for example <code>\(Self.code($0))</code>" },
            isOpen(schema) ? "other members" : nil,
        ]
        return rules.compactMap(\.self)
    }

    /// Whether an object may have members that the description doesn't name.
    private func isOpen(_ schema: OpenAPI.Value) -> Bool {
        schema["type"]?.string == "object" && schema["additionalProperties"] != .bool(false)
    }

    private func range(_ schema: OpenAPI.Value, _ least: String, _ most: String) -> String? {
        switch (schema[least]?.json(), schema[most]?.json()) {
        case (let least?, let most?): least == most ? least : "\(least) to \(most)"
        case (let least?, nil): "at least \(least)"
        case (nil, let most?): "at most \(most)"
        case (nil, nil): nil
        }
    }

    private static func code(_ value: OpenAPI.Value) -> String {
        value.string ?? value.json(indented: false)
    }
}
