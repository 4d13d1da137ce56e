import DequeModule

/// The waiters for a connection, in order of arrival, except that a group that holds its share is passed over.
///
/// A group (a tenant) can't take the whole pool: its further waiters wait until it gives a connection back, while
/// others overtake them. Waiters without a group have no limit.
struct PoolQueue {
    typealias Instant = ContinuousClock.Instant
    typealias WaiterID = PoolStateMachine.WaiterID

    private struct Waiter {
        let number: Int
        let group: UUID?
        let deadline: Instant
    }

    /// The waiters of one group, and how many connections it holds.
    private struct Line {
        /// In order of arrival; those that are no longer in `waiters` have left.
        var order: Deque<WaiterID> = []
        var waiting = 0
        var held = 0

        /// How many connections more its group may hold.
        func room(of group: UUID?, share: Int) -> Int {
            group == nil ? .max : max(0, share - held)
        }
    }

    private var waiters: [WaiterID: Waiter] = [:]
    private var lines: [UUID?: Line] = [:]
    private var lastNumber = 0

    var count: Int { waiters.count }

    var nextDeadline: Instant? {
        waiters.values.lazy.map(\.deadline).min()
    }

    func contains(_ waiter: WaiterID) -> Bool {
        waiters[waiter] != nil
    }

    /// How many waiters would get a connection if enough were idle.
    ///
    /// - Parameter share: how many connections a group may hold.
    func served(share: Int) -> Int {
        guard !waiters.isEmpty else { return 0 }
        return lines.reduce(0) { $0 + min($1.value.waiting, $1.value.room(of: $1.key, share: share)) }
    }

    mutating func append(_ waiter: WaiterID, group: UUID?, deadline: Instant) {
        lastNumber += 1
        waiters[waiter] = Waiter(number: lastNumber, group: group, deadline: deadline)
        lines[group, default: Line()].order.append(waiter)
        lines[group]?.waiting += 1
    }

    /// - Returns: false if the waiter has left already.
    mutating func remove(_ waiter: WaiterID) -> Bool {
        guard let removed = waiters.removeValue(forKey: waiter) else { return false }
        lines[removed.group]?.waiting -= 1
        tidy(removed.group)
        return true
    }

    /// The waiter that gets a connection now, which its group holds from now on.
    mutating func popFirst(share: Int) -> (waiter: WaiterID, group: UUID?)? {
        var first: (waiter: WaiterID, number: Int, group: UUID?)?
        for (group, line) in lines where line.waiting > 0 && line.room(of: group, share: share) > 0 {
            guard let waiter = line.order.first, let number = waiters[waiter]?.number else { continue }
            if first.map({ number < $0.number }) ?? true { first = (waiter, number, group) }
        }
        guard let first, remove(first.waiter) else { return nil }
        lines[first.group, default: Line()].held += 1
        return (first.waiter, first.group)
    }

    /// A connection of the group has come back.
    mutating func release(_ group: UUID?) {
        lines[group]?.held -= 1
        tidy(group)
    }

    /// Removes those whose deadline has passed, in order of arrival.
    mutating func removeExpired(_ now: Instant) -> [WaiterID] {
        removeAll { $0.deadline <= now }
    }

    /// Removes all, in order of arrival.
    mutating func removeAll() -> [WaiterID] {
        removeAll { _ in true }
    }

    private mutating func removeAll(where isOut: (Waiter) -> Bool) -> [WaiterID] {
        let out = waiters.filter { isOut($0.value) }.sorted { $0.value.number < $1.value.number }.map(\.key)
        for waiter in out { _ = remove(waiter) }
        return out
    }

    /// Keeps a waiter at the head of the line, and drops a line that is empty and holds nothing.
    private mutating func tidy(_ group: UUID?) {
        guard let line = lines[group] else { return }
        if line.waiting == 0, line.held <= 0 {
            lines[group] = nil
        } else if line.order.count > 2 * line.waiting + 16 {
            lines[group]?.order.removeAll { waiters[$0] == nil }
        } else {
            while let first = lines[group]?.order.first, waiters[first] == nil { lines[group]?.order.removeFirst() }
        }
    }
}
