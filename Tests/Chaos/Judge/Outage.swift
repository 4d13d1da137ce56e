/// Something that went wrong, and when.
package struct InjectedFault: Sendable, Hashable {
    package var name: String
    package var began: Instant
    package var over: Instant

    package init(name: String, began: Instant, over: Instant) {
        self.name = name
        self.began = began
        self.over = over
    }
}

/// What one fault cost those who asked, from its beginning until the next one's.
package struct Outage: Sendable, Hashable {
    package var fault: String
    /// How many requests came to their end.
    package var requests: Int
    /// How many of them were answered with 503.
    package var unavailable: Int
    /// How many got no answer.
    package var unanswered: Int
    /// The longest time in which no write was answered for good.
    package var withoutService: Instant
    /// The longest time that a client asked again and again before it had the true outcome of a write.
    package var longestWait: Instant
    /// How many writes were answered for good and have no entry.
    package var lostEntries: Int

    /// - Parameter next: when the next fault began, or when everything was over.
    package init(of fault: InjectedFault, until next: Instant, in history: History) {
        self.fault = fault.name
        let time = fault.began..<next
        let ended = history.calls.filter { time.contains($0.returned) }
        requests = ended.count
        unavailable = ended.count { $0.answer?.status == 503 }
        unanswered = ended.count { $0.answer == nil }

        let served = history.calls.filter { $0.request.action != nil && $0.isSettled }.map(\.returned).sorted()
        // The last before the fault, those since, and the end in place of one that never came.
        let last = served.last { $0 < time.lowerBound } ?? time.lowerBound
        let since = served.filter { $0 >= time.lowerBound }
        let times = [last] + since.prefix { $0 < time.upperBound } + [since.first { $0 >= time.upperBound } ?? next]
        withoutService = zip(times.dropFirst(), times).map { $0 - $1 }.max() ?? 0

        let pursuits = Dictionary(grouping: history.calls.filter { $0.pursuit != nil }) { $0.pursuit ?? 0 }
        longestWait =
            pursuits.values.compactMap { calls in
                guard let start = calls.map(\.invoked).min(), let end = calls.map(\.returned).max() else { return nil }
                return time.contains(end) ? end - start : nil
            }.max() ?? 0

        let recorded = Set(history.entries.compactMap(\.requestID))
        lostEntries = ended.count {
            $0.request.action != nil && $0.isSettled && !recorded.contains($0.requestID)
        }
    }

    /// One for each fault, in their order.
    package static func all(_ faults: [InjectedFault], in history: History) -> [Outage] {
        zip(faults, faults.dropFirst().map(\.began) + [history.ended]).map { Outage(of: $0, until: $1, in: history) }
    }
}
