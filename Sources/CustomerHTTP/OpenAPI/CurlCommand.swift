import AuditTrail

/// Commands for a shell that ask an operation. What depends on the reader is a variable of the shell.
struct CurlCommand: Sendable {
    let api: OpenAPI

    /// The command of an operation: with what the operation requires, and the first example of its body.
    func text(_ operation: OpenAPI.Operation) -> String {
        let method = operation.method == "GET" ? "" : "-X \(operation.method) "
        var lines = ["curl -i \(method)\"$URL\(path(of: operation))\""]
        if operation.needsKey {
            lines.append(keys.map { #"-H "\#($0.header): $\#($0.variable)""# }.joined(separator: " "))
        }
        for case (_, let parameter) in operation.parameters where parameter["in"]?.string == "header" {
            guard parameter["required"] == .bool(true), let name = parameter["name"]?.string else { continue }
            // All that are required are idempotency keys: another one each time.
            lines.append(#"-H "\#(name): $(uuid)""#)
        }
        if let body = body(of: operation) { lines.append("-H 'content-type: application/json' -d '\(body)'") }
        return lines.joined(separator: " \\\n    ")
    }

    /// What gives the variables their values, for a reader to adapt.
    var preparation: String {
        var lines = ["URL=\(Self.origin)"]
        lines += keys.map { "\($0.variable)='…'" }
        var seen: Set<String> = []
        for case (let component?, let parameter) in api.operations(in: "paths").flatMap(\.parameters) {
            guard let name = variable(component, parameter), seen.insert(name).inserted else { continue }
            lines.append("\(name)='\(parameter["example"]?.string ?? "…")'")
        }
        lines += [
            "AT=$(date -u -d '30 days' +%FT%TZ)   # with macOS: date -u -v+30d +%FT%TZ",
            "uuid() { cat /proc/sys/kernel/random/uuid 2>/dev/null || uuidgen; }",
        ]
        return lines.joined(separator: "\n")
    }

    /// Where a service answers by default.
    static let origin = "http://127.0.0.1:8080"

    /// The headers of an API key, and the variables for them.
    private var keys: [(header: String, variable: String)] {
        api.components("securitySchemes").map { ($0.value["name"]?.string ?? "", Self.variable(of: $0.name)) }
    }

    private func path(of operation: OpenAPI.Operation) -> String {
        operation.parameters.reduce(operation.path) { path, parameter in
            guard parameter.value["in"]?.string == "path", let name = parameter.value["name"]?.string else {
                return path
            }
            let value =
                variable(parameter.component ?? name, parameter.value).map { "$\($0)" }
                ?? parameter.value["examples"]?.members.first?.value["value"]?.string
            return path.replacing("{\(name)}", with: value ?? "")
        }
    }

    /// The variable for a parameter of the path, if what it names differs from one reader to another.
    private func variable(_ component: String, _ parameter: OpenAPI.Value) -> String? {
        guard parameter["in"]?.string == "path", parameter["schema"]?["format"]?.string == "uuid" else { return nil }
        return Self.variable(of: component)
    }

    /// `CustomerId` is `CUSTOMER_ID`.
    private static func variable(of name: String) -> String {
        var variable = ""
        for character in name {
            if character.isUppercase, !variable.isEmpty { variable += "_" }
            variable += character.uppercased()
        }
        return variable
    }

    /// The example of a body, as it stands between single quotation marks.
    private func body(of operation: OpenAPI.Operation) -> String? {
        guard
            let content = operation.value["requestBody"]?["content"]?["application/json"],
            let example = content["examples"]?.members.first?.value
        else { return nil }
        let body = api.resolved(example).value["value"]?.json(indented: false) ?? ""
        return replacements.reduce(body.replacing("'", with: #"'\''"#)) { body, replacement in
            body.replacing("\"\(replacement.example)\"", with: #""'"$\#(replacement.variable)"'""#)
        }
    }

    /// Examples in bodies that a variable takes the place of: ids of what the reader has, and a time that must be one to
    /// come.
    private var replacements: [(example: String, variable: String)] {
        let ids = api.components("parameters").compactMap { member -> (String, String)? in
            guard let example = member.value["example"]?.string else { return nil }
            return variable(member.name, member.value).map { (example, $0) }
        }
        let schedule = api.components("schemas").first { $0.name == "NewSchedule" }?.value
        let moments = schedule?["properties"]?["at"]?["examples"]?.elements.compactMap(\.string) ?? []
        return ids + moments.map { ($0, "AT") }
    }
}
