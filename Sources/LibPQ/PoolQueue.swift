import DequeModule

/// The waiters for a connection, in order of arrival, except that a group that already holds its share is skipped.
///
/// A group (a tenant) can't take the whole pool: its further waiters wait until it gives a connection back, while
/// others overtake them. A waiter may leave some of its group's share to the others of the group, which overtake it then.
/// Waiters without a group have no limit.
struct PoolQueue {
    typealias Instant = ContinuousClock.Instant
    typealias WaiterID = PoolStateMachine.WaiterID

    private struct Waiter {
        let number: Int
        let group: UUID?
        let limit: Int
        let deadline: Instant
    }

    /// Waiters of one group that want the same.
    private struct Lane {
        /// They get a connection while their group holds fewer.
        let limit: Int
        /// In order of arrival; those that are no longer in `waiters` have left.
        var order: Deque<WaiterID> = []
        var waiting = 0
    }

    /// The waiters of one group, and how many connections it holds.
    private struct Line {
        var lanes: [Lane] = []
        var held = 0

        /// How many connections more its group may hold for the waiters of a lane.
        func room(for lane: Lane, of group: UUID?, share: Int) -> Int {
            group == nil ? .max : max(0, min(lane.limit, share) - held)
        }

        /// How many of its waiters would get a connection if enough were idle.
        func served(of group: UUID?, share: Int) -> Int {
            let served = lanes.reduce(0) { $0 + min($1.waiting, room(for: $1, of: group, share: share)) }
            return group == nil ? served : min(served, max(0, share - held))
        }

        mutating func lane(_ limit: Int) -> Int {
            if let index = lanes.firstIndex(where: { $0.limit == limit }) { return index }
            lanes.append(Lane(limit: limit))
            return lanes.count - 1
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
        return lines.reduce(0) { $0 + $1.value.served(of: $1.key, share: share) }
    }

    /// - Parameter limit: the waiter gets a connection while its group holds fewer, and fewer than its share.
    mutating func append(_ waiter: WaiterID, group: UUID?, limit: Int, deadline: Instant) {
        lastNumber += 1
        waiters[waiter] = Waiter(number: lastNumber, group: group, limit: limit, deadline: deadline)
        var line = lines.removeValue(forKey: group) ?? Line()
        let lane = line.lane(limit)
        line.lanes[lane].order.append(waiter)
        line.lanes[lane].waiting += 1
        lines[group] = line
    }

    /// - Returns: false if the waiter has left already.
    mutating func remove(_ waiter: WaiterID) -> Bool {
        guard let removed = waiters.removeValue(forKey: waiter) else { return false }
        if var line = lines.removeValue(forKey: removed.group) {
            let lane = line.lane(removed.limit)
            line.lanes[lane].waiting -= 1
            lines[removed.group] = line
        }
        tidy(removed.group)
        return true
    }

    /// The waiter that gets a connection now, which its group holds from now on.
    mutating func popFirst(share: Int) -> (waiter: WaiterID, group: UUID?)? {
        var first: (waiter: WaiterID, number: Int, group: UUID?)?
        for (group, line) in lines {
            for lane in line.lanes where lane.waiting > 0 && line.room(for: lane, of: group, share: share) > 0 {
                guard let waiter = lane.order.first, let number = waiters[waiter]?.number else { continue }
                if first.map({ number < $0.number }) ?? true { first = (waiter, number, group) }
            }
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

    /// Keeps a waiter at the head of each lane, and drops lanes that are empty, and a line that holds nothing besides.
    private mutating func tidy(_ group: UUID?) {
        guard var line = lines.removeValue(forKey: group) else { return }
        line.lanes.removeAll { $0.waiting == 0 }
        guard !line.lanes.isEmpty || line.held > 0 else { return }
        for index in line.lanes.indices {
            if line.lanes[index].order.count > 2 * line.lanes[index].waiting + 16 {
                line.lanes[index].order.removeAll { waiters[$0] == nil }
            } else {
                while let first = line.lanes[index].order.first, waiters[first] == nil {
                    line.lanes[index].order.removeFirst()
                }
            }
        }
        lines[group] = line
    }
}
