/// Which part of a list is asked for.
public struct Page: Sendable, Hashable {
    public static let skips = 0...10_000
    public static let takes = 1...100

    /// How many records come before it.
    public let skip: Int
    /// How many records it has at most.
    public let take: Int

    public init(skip: Int, take: Int) {
        self.skip = skip
        self.take = take
    }
}

extension Page {
    /// - Parameters:
    ///   - records: the records of the page, rendered, separated by commas; nil for none.
    ///   - total: how many there are on all pages.
    func answer(records: String?, total: Int) -> Answer {
        let list: JSON = [
            "data": .raw("[\(records ?? "")]"), "total": .int(total), "skip": .int(skip), "take": .int(take),
        ]
        return Answer(status: 200, body: list.text)
    }
}
