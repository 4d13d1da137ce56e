/// A search for an order of operations that the model allows and that contradicts no clock: whatever returned before
/// something else was invoked comes before it.
///
/// Source: Wing and Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for linearizability"
/// (2017), for the memory of configurations that led nowhere.
struct Linearization: Sendable {
    enum Result: Sendable {
        /// Indices of the operations.
        case found([Int])
        /// The longest order that the model allowed, and where it left the customer.
        case none(longest: [Int], state: CustomerState)
        case undecided
    }

    private let operations: [TimedEffect]
    private let initial: CustomerState
    /// The indices of those that have to be explained.
    private let required: [Int]

    /// - Parameters:
    ///   - operations: in the order of their starts.
    ///   - cut: what hadn't returned by then need not have taken effect yet.
    init(_ operations: [TimedEffect], from initial: CustomerState, cut: Instant = .max) {
        self.operations = operations
        self.initial = initial
        required = operations.indices.filter { operations[$0].end < cut }
    }

    private struct Configuration: Hashable {
        var taken: BitSet
        var state: CustomerState
    }

    private struct Frame {
        var configuration: Configuration
        var order: [Int]
        var next: [(index: Int, state: CustomerState)]
    }

    /// - Parameter budget: how many configurations to look at before giving up.
    func search(budget: Int = 200_000) -> Result {
        var seen: Set<Configuration> = []
        var longest: (order: [Int], state: CustomerState) = ([], initial)
        var stack: [Frame] = []

        func enter(_ configuration: Configuration, _ order: [Int]) -> [Int]? {
            guard seen.insert(configuration).inserted else { return nil }
            var (configuration, order) = (configuration, order)
            let next = advance(&configuration, &order)
            if order.count > longest.order.count { longest = (order, configuration.state) }
            if order.count >= required.count, required.allSatisfy(configuration.taken.contains) { return order }
            stack.append(Frame(configuration: configuration, order: order, next: next.reversed()))
            return nil
        }

        let start = Configuration(taken: BitSet(count: operations.count), state: initial)
        if let order = enter(start, []) { return .found(order) }
        while var frame = stack.popLast() {
            guard seen.count < budget else { return .undecided }
            guard let (index, state) = frame.next.popLast() else { continue }
            stack.append(frame)
            var taken = frame.configuration.taken
            taken.insert(index)
            if let order = enter(Configuration(taken: taken, state: state), frame.order + [index]) {
                return .found(order)
            }
        }
        return .none(longest: longest.order, state: longest.state)
    }

    /// Takes every sight that may come next, which can't be wrong as it changes nothing.
    ///
    /// - Returns: the changes that may come next, the most likely first.
    private func advance(
        _ configuration: inout Configuration, _ order: inout [Int]
    ) -> [(index: Int, state: CustomerState)] {
        while true {
            let candidates = candidates(configuration.taken)
            let sights = candidates.filter {
                operations[$0].effect.isSight && operations[$0].effect.applied(to: configuration.state) != nil
            }
            guard sights.isEmpty else {
                for index in sights { configuration.taken.insert(index) }
                order += sights
                continue
            }
            return candidates.sorted { operations[$0].hint < operations[$1].hint }.compactMap { index in
                guard !operations[index].effect.isSight else { return nil }
                return operations[index].effect.applied(to: configuration.state).map { (index, $0) }
            }
        }
    }

    /// Those that nothing else has to come before.
    private func candidates(_ taken: BitSet) -> [Int] {
        var candidates: [Int] = []
        var firstEnd = Instant.max
        for index in operations.indices.dropFirst(taken.firstMissing) where !taken.contains(index) {
            let operation = operations[index]
            guard operation.start <= firstEnd else { break }
            firstEnd = min(firstEnd, operation.end)
            candidates.append(index)
        }
        return candidates.filter { operations[$0].start <= firstEnd }
    }
}

/// A set of small numbers.
private struct BitSet: Hashable {
    private var words: [UInt64]

    init(count: Int) {
        words = Array(repeating: 0, count: (count + 63) / 64)
    }

    func contains(_ index: Int) -> Bool {
        words[index / 64] & 1 << UInt64(index % 64) != 0
    }

    /// No smaller number is missing than this one; it may be there itself.
    var firstMissing: Int {
        (words.firstIndex { $0 != .max } ?? words.count) * 64
    }

    mutating func insert(_ index: Int) {
        words[index / 64] |= 1 << UInt64(index % 64)
    }
}
