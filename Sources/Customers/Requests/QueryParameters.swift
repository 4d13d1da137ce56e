/// The query of a request, decoded as forms are: percent-encoding, and `+` for a space.
///
/// Unknown parameters are ignored, since an operation reads only those that it knows. An empty value counts as absent.
///
/// Source: WHATWG URL Standard, section 5.1.
struct QueryParameters: Sendable {
    private let pairs: [(name: String?, value: String?)]

    /// - Parameter query: what follows the `?`, as it was sent.
    init(_ query: String) {
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
        guard values.count <= 1 else { throw .repeatedParameter(name: name) }
        guard let value = values.first else { return nil }
        guard let value else { throw .unreadableParameter(name: name) }
        return value.isEmpty ? nil : value
    }

    func int(_ name: String, in range: ClosedRange<Int>, default: Int) throws(Invalidity) -> Int {
        guard let text = try text(name) else { return `default` }
        guard
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let value = Int(text), range.contains(value)
        else { throw .invalidNumber(name: name, range) }
        return value
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, of _: Choice.Type
    ) throws(Invalidity) -> Choice? {
        try value(name, orElse: .invalidChoice(name: name, Choice.allCases.map(\.rawValue))) {
            Choice(rawValue: $0)
        }
    }

    /// False when it isn't given.
    func bool(_ name: String) throws(Invalidity) -> Bool {
        switch try text(name) {
        case "true": true
        case "false", nil: false
        default: throw .invalidChoice(name: name, ["true", "false"])
        }
    }

    func uuid(_ name: String) throws(Invalidity) -> UUID? {
        try value(name, orElse: .invalidUUID(name: name)) { UUID(strict: $0) }
    }

    func dateTime(_ name: String) throws(Invalidity) -> DateTime? {
        try value(name, orElse: .invalidDateTime(name: name)) { text in
            // The sign of an offset that wasn't encoded has become a space. What is longer has no meaningful fraction.
            text.utf8.count <= 64 ? DateTime(text.replacing(" ", with: "+")) : nil
        }
    }

    /// - Parameter read: nil for what isn't such a value, which is then `invalidity`.
    func value<Value>(
        _ name: String, orElse invalidity: Invalidity, _ read: (String) -> Value?
    ) throws(Invalidity) -> Value? {
        guard let text = try text(name) else { return nil }
        guard let value = read(text) else { throw invalidity }
        return value
    }
}
