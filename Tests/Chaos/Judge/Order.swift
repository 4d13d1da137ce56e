/// Holds each customer's operations to the model.
struct Order: Sendable {
    private(set) var violations: [Violation] = []
    /// The orders that were found: the calls, as they took effect.
    private(set) var found: [Subject: [TimedEffect]] = [:]

    init(_ dossier: Dossier) {
        let effects = EffectHistory(dossier)
        for (subject, all) in effects.bySubject.sorted(by: { $0.key.id < $1.key.id }) {
            let initial = CustomerState(
                life: dossier.history.initial[subject].map { .living($0, isArchived: false) } ?? .unborn)
            switch Linearization(all, from: initial).search() {
            case .found(let order): found[subject] = order.map { all[$0] }
            case .undecided: violations.append(Violation(.undecided, "\(subject), \(all.count) operations"))
            case .none: violations.append(Self.explained(subject, all, initial))
            }
        }
    }

    /// The shortest part of a customer's history that no order explains.
    private static func explained(
        _ subject: Subject, _ all: [TimedEffect], _ initial: CustomerState
    ) -> Violation {
        // Nothing that began later can have made it wrong before.
        var (low, high) = (0, all.count)
        while low + 1 < high {
            let middle = (low + high) / 2
            if isImpossible(Array(all[..<middle]), initial, cut: all[middle].start) {
                high = middle
            } else {
                low = middle
            }
        }
        let cut = high < all.count ? all[high].start : .max
        // Nor is it the fault of a sight that may be left out.
        var part = all[..<high].filter { !$0.effect.isSight || $0.end < cut }
        var size = part.count { $0.effect.isSight }
        while size > 0 {
            let sights = part.indices.filter { part[$0].effect.isSight }
            for start in stride(from: 0, to: sights.count, by: size).reversed() {
                let left = Set(sights[start...].prefix(size))
                let shorter = part.indices.filter { !left.contains($0) }.map { part[$0] }
                if isImpossible(shorter, initial, cut: cut) { part = shorter }
            }
            size /= 2
        }
        guard case .none(let longest, let state) = Linearization(part, from: initial, cut: cut).search() else {
            return Violation(.undecided, "\(subject), \(all.count) operations")
        }
        let rest = part.indices.filter { !longest.contains($0) && part[$0].end < cut }
        let before = longest.suffix(8).map { "then  \(part[$0].summary)" }
        let earlier = longest.count - before.count
        return Violation(
            .notLinearizable, "\(subject)",
            (earlier > 0 ? ["(after \(earlier) earlier operations)"] : []) + before + ["which leaves it \(state)"]
                + rest.prefix(8).map { "but   \(part[$0].summary)" })
    }

    private static func isImpossible(_ operations: [TimedEffect], _ initial: CustomerState, cut: Instant) -> Bool {
        if case .none = Linearization(operations, from: initial, cut: cut).search(budget: 50_000) {
            true
        } else {
            false
        }
    }
}
