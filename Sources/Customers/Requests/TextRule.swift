/// What text from clients may contain, wherever it is kept or shown.
public enum TextRule {
    /// Whether a character acts on a terminal or a page instead of standing for something: a control character
    /// (general category Cc), or one that embeds, overrides or isolates a direction of writing (U+202A to U+202E, U+2066
    /// to U+2069), with which text can be made to look like other text.
    ///
    /// Source: Unicode Standard Annex #9; Unicode Technical Report #36, section 2.7.
    public static func isActive(_ scalar: Unicode.Scalar) -> Bool {
        isControl(scalar) || isDirectional(scalar)
    }

    /// - Throws: a sentence that names the member or header, if the text contains such a character.
    public static func check(_ text: String, of name: String) throws(Invalidity) {
        // Nearly all text is ASCII, of which seven bits tell.
        guard !text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) else { return }
        for scalar in text.unicodeScalars {
            if isControl(scalar) { throw .text(name: name, "must not contain control characters") }
            if isDirectional(scalar) {
                throw .text(name: name, "must not contain bidirectional embeddings, overrides or isolates")
            }
        }
    }

    /// The same text with each character that ``isActive(_:)`` written as `\u{202E}`, so that it can be shown anywhere on one
    /// line. Such characters may have been stored before they were refused, or by others.
    public static func visible(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isActive) else { return text }
        return text.unicodeScalars.map { scalar in
            isActive(scalar) ? "\\u{\(String(scalar.value, radix: 16, uppercase: true))}" : String(scalar)
        }.joined()
    }

    /// Whether nothing can be seen of the text: white space, and characters without a glyph of their own.
    ///
    /// Source: Unicode Character Database, White_Space and Default_Ignorable_Code_Point.
    public static func isBlank(_ text: some StringProtocol) -> Bool {
        text.unicodeScalars.allSatisfy(isBlank)
    }

    static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
        let isBlankPattern = scalar.value == 0x2800
        return isBlankPattern || scalar.properties.isWhitespace || scalar.properties.isDefaultIgnorableCodePoint
    }

    /// - Throws: a sentence, if the text can't be an address of a mailbox. A subset of RFC 5321: whether there is such
    ///   a mailbox only a message can tell.
    static func checkEmail(_ text: String, of name: String) throws(Invalidity) {
        let parts = text.utf8.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw .text(name: name, "must contain exactly one @") }
        let (local, domain) = (Substring(parts[0]).unicodeScalars, Substring(parts[1]).unicodeScalars)
        guard (1...64).contains(local.count), !local.allSatisfy(isBlank) else {
            throw .text(name: name, "must have 1 to 64 characters before the @")
        }
        guard !domain.contains(where: isBlank) else {
            throw .text(name: name, "must have a domain without blanks after the @")
        }
        guard domain.split(separator: ".", omittingEmptySubsequences: false).allSatisfy({ !$0.isEmpty }) else {
            throw .text(name: name, "must have a domain without empty labels after the @")
        }
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
    }

    private static func isDirectional(_ scalar: Unicode.Scalar) -> Bool {
        (0x202a...0x202e).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
    }
}
