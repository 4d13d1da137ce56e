/// Holds the service to its word on waiting: a client that insists gets the true outcome within 30 seconds of a crash.
struct Patience: Sendable {
    static let limit: Instant = 30_000_000_000

    private(set) var violations: [Violation] = []
    private(set) var longestWait: Instant = 0

    init(_ dossier: Dossier) {
        let pursued = dossier.history.calls.filter { $0.pursuit != nil }
        for calls in Dictionary(grouping: pursued, by: { $0.pursuit ?? 0 }).values {
            guard let start = calls.map(\.invoked).min() else { continue }
            let settled = calls.filter(\.isSettled).map(\.returned).min()
            let wait = (settled ?? calls.map(\.returned).max() ?? start) - start
            longestWait = max(longestWait, wait)
            // Each crash may cost a lease; they come faster than that.
            let lastFault = dossier.history.faultsOver.filter { $0 > start && $0 < start + wait }.max() ?? start
            if start + wait - lastFault > Self.limit {
                let what = settled == nil ? "no true outcome" : "a true outcome"
                violations.append(
                    Violation(
                        .stuckKey, "\(what) after \(wait.seconds) s",
                        calls.suffix(6).map { $0.line(dossier.entry(of: $0)) }))
            }
        }
        for call in dossier.history.calls {
            guard let answer = call.answer else { continue }
            guard answer.saysInProgress || [429, 503].contains(answer.status) else { continue }
            let isGood = answer.retryAfter.map { (1...(answer.status == 429 ? 86_400 : 30)).contains($0) } ?? false
            if !isGood {
                violations.append(
                    Violation(
                        .unexpectedAnswer, "Retry-After is \(answer.retryAfter.map { String($0) } ?? "missing")",
                        [call.line()]))
            }
        }
    }
}
