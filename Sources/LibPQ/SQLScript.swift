/// The statements of a text for psql, one by one.
///
/// Citus hands on a statement about a table as the text in which it came, so each has to come alone. It knows what the
/// files in `sql/` have: comments, quoted names, strings and dollar-quoted ones, no `BEGIN ATOMIC`.
///
/// Source: PostgreSQL manual, "Lexical Structure".
package struct SQLScript: Sendable {
    package let statements: [String]

    package init(_ text: String) {
        var statements: [String] = []
        var rest = text[...]
        var statement = ""
        while !rest.isEmpty {
            let token = Self.token(rest)
            rest = rest[token.endIndex...]
            if token == ";" {
                statements.append(statement)
                statement = ""
            } else if !token.hasPrefix("--") {
                statement += token
            }
        }
        statements.append(statement)
        self.statements = statements.map { $0.drop { $0.isWhitespace } }.filter { !$0.isEmpty }.map { text in
            String(text.prefix(through: text.lastIndex { !$0.isWhitespace } ?? text.startIndex))
        }
    }

    /// What belongs together at the beginning of a text: a comment, something in quotes, a single character, or all up to the
    /// next that could begin one of these.
    private static func token(_ text: Substring) -> Substring {
        let plain = text.utf8.prefix { !special.contains($0) }
        guard plain.isEmpty else { return Substring(plain) }
        if text.hasPrefix("--") { return text.prefix { !$0.isNewline } }
        if text.hasPrefix("'") { return quoted(text, by: "'") }
        if text.hasPrefix("\"") { return quoted(text, by: "\"") }
        if let tag = text.prefixMatch(of: /\$([A-Za-z_][A-Za-z0-9_]*)?\$/)?.output.0 { return quoted(text, by: tag) }
        return text.prefix(1)
    }

    private static let special: [UInt8] = Array("-'\"$;".utf8)

    /// A doubled quote inside ends one part and begins the next, which comes to the same.
    private static func quoted(_ text: Substring, by quote: Substring) -> Substring {
        guard let end = text.dropFirst(quote.count).firstRange(of: quote) else { return text }
        return text[..<end.upperBound]
    }
}
