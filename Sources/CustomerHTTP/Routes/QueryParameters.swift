import Customers
import Hummingbird

/// The query of a request, decoded as forms are: percent-encoding, and `+` for a space.
///
/// A route reads the parameters that it knows, so an unknown one is ignored, whatever it is. An empty value is no value.
///
/// Source: WHATWG URL Standard, section 5.1.
struct QueryParameters: Sendable {
    private let pairs: [(name: String?, value: String?)]

    init(_ request: Request) {
        let query = request.uri.query ?? ""
        pairs = query.split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (Self.decoded(parts[0]), parts.count > 1 ? Self.decoded(parts[1]) : "")
        }
    }

    private static func decoded(_ text: Substring) -> String? {
        guard let decoded = text.replacing("+", with: " ").percentDecoded else { return nil }
        return decoded.unicodeScalars.contains("\u{0}") ? nil : decoded
    }
}

extension QueryParameters {
    func text(_ name: String) throws(Invalidity) -> String? {
        let values = pairs.filter { $0.name == name }.map(\.value)
        guard values.count <= 1 else { throw .parameterIsRepeated(name: name) }
        guard let value = values.first else { return nil }
        guard let value else { throw .parameterIsUnreadable(name: name) }
        return value.isEmpty ? nil : value
    }

    func int(_ name: String, in range: ClosedRange<Int>, default: Int) throws(Invalidity) -> Int {
        guard let text = try text(name) else { return `default` }
        guard
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let value = Int(text), range.contains(value)
        else { throw .parameterIsNoNumber(name: name, range) }
        return value
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, of _: Choice.Type
    ) throws(Invalidity) -> Choice? {
        guard let text = try text(name) else { return nil }
        guard let value = Choice(rawValue: text) else {
            throw .parameterIsNoneOf(name: name, Choice.allCases.map(\.rawValue))
        }
        return value
    }

    /// False when it isn't given.
    func bool(_ name: String) throws(Invalidity) -> Bool {
        switch try text(name) {
        case "true": true
        case "false", nil: false
        default: throw .parameterIsNoneOf(name: name, ["true", "false"])
        }
    }

    func uuid(_ name: String) throws(Invalidity) -> UUID? {
        guard let text = try text(name) else { return nil }
        guard let value = UUID(strict: text) else { throw .parameterIsNoUUID(name: name) }
        return value
    }

    func dateTime(_ name: String) throws(Invalidity) -> DateTime? {
        // The sign of an offset that wasn't encoded has become a space.
        guard let text = try text(name)?.replacing(" ", with: "+") else { return nil }
        // Longer than any date-time with a fraction that means something, and cheap to refuse.
        guard text.utf8.count <= 64, let value = DateTime(text) else { throw .parameterIsNoDateTime(name: name) }
        return value
    }

    /// Names of parts, separated by commas; none when it isn't given.
    func certificateParts(_ name: String) throws(Invalidity) -> Set<Certificate.Part> {
        guard let text = try text(name) else { return [] }
        guard let parts = Certificate.Part.set(text) else {
            throw .parameterIsNoneOf(name: name, ["subject", "context", "subject,context"])
        }
        return parts
    }

    func cursor(_ name: String) throws(Invalidity) -> AuditCursor? {
        guard let text = try text(name) else { return nil }
        guard let value = AuditCursor(text) else { throw .parameterIsNoCursor(name: name) }
        return value
    }
}

extension QueryParameters {
    /// `skip` and `take`.
    func page() throws(Invalidity) -> Page {
        Page(
            skip: try int("skip", in: Page.skips, default: 0),
            take: try int("take", in: Page.takes, default: 10)
        )
    }
}
