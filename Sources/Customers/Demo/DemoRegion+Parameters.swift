import LibPQ

extension DemoRegion {
    /// The regions as arrays: first names, last names, both as e-mail addresses have them, the region of each of a
    /// hundred customers, phone numbers, currencies.
    static let parameters: [Parameter] = {
        let first = all.flatMap { names(in: $0.firstNames) }
        let last = all.flatMap { names(in: $0.lastNames) }
        assert(first.count == all.count * namesEach && last.count == first.count)
        let regions = all.enumerated().flatMap { Array(repeating: String($0.offset), count: $0.element.share) }
        assert(regions.count == 100)
        return [
            .array(first.map(\.name)), .array(last.map(\.name)), .array(first.map(\.ascii)), .array(last.map(\.ascii)),
            .array(regions), .array(all.map(\.phone)), .array(all.map(\.currency)),
        ]
    }()

    private static func names(in list: String) -> [(name: String, ascii: String)] {
        list.split(separator: " ").map { entry in
            let parts = entry.split(separator: "|").map(String.init)
            return (parts[0], parts.count == 2 ? parts[1] : asciiLetters(of: parts[0]))
        }
    }

    /// Without apostrophes and capitals.
    private static func asciiLetters(of name: String) -> String {
        let letters = name.lowercased().unicodeScalars
            .filter { ("a"..."z").contains($0) || $0 == "-" }
        return String(String.UnicodeScalarView(letters))
    }
}
