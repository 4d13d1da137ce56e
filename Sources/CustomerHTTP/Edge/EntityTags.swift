import Customers

/// The entity tags of `If-Match` or `If-None-Match`.
///
/// Source: RFC 9110, sections 8.8.3 and 13.1.
enum EntityTags: Sendable, Hashable {
    /// `*`: any tag of an existing resource.
    case any
    case these([Tag])

    struct Tag: Sendable, Hashable {
        let isWeak: Bool
        /// With the quotation marks.
        let text: String
    }

    /// - Parameter values: of the header, one per line.
    /// - Returns: nil without the header. A list that isn't well-formed holds no tags, so nothing is equal to one.
    init?(_ values: [String]) {
        if values.isEmpty { return nil }
        if values.count == 1, values[0].trimmed == "*" {
            self = .any
            return
        }
        let lists = values.map(Self.tags)
        self = .these(lists.contains(nil) ? [] : lists.flatMap { $0 ?? [] })
    }

    /// A list, which a comma within a tag doesn't end; nil if it is none.
    private static func tags(of list: String) -> [Tag]? {
        var (tags, rest) = ([Tag](), Array(list.utf8)[...])
        while true {
            rest = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: ",") }
            if rest.isEmpty { return tags.isEmpty ? nil : tags }
            let isWeak = rest.starts(with: "W/".utf8)
            if isWeak { rest = rest.dropFirst(2) }
            guard rest.first == UInt8(ascii: "\"") else { return nil }
            let tag = rest.dropFirst().prefix { $0 == 0x21 || $0 >= 0x23 && $0 != 0x7f }
            guard rest.dropFirst(1 + tag.count).first == UInt8(ascii: "\"") else { return nil }
            tags.append(Tag(isWeak: isWeak, text: "\"" + String(decoding: tag, as: UTF8.self) + "\""))
            rest = rest.dropFirst(2 + tag.count).drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
            guard rest.isEmpty || rest.first == UInt8(ascii: ",") else { return nil }
        }
    }

    /// Weak comparison, for `If-None-Match`: what differs in nothing that matters is the same.
    func containsWeakly(_ etag: String) -> Bool {
        switch self {
        case .any: true
        case .these(let tags): tags.contains { $0.text == etag.trimmingPrefix("W/") }
        }
    }

    /// The tags that a strong one can be equal to, for `If-Match`: `*` for any, and no weak ones.
    var strong: [String] {
        switch self {
        case .any: ["*"]
        case .these(let tags): tags.filter { !$0.isWeak }.map(\.text)
        }
    }
}
