import Foundation
import TestSupport
import Testing

@testable import LibPQ

/// The shares of groups in a pool, on values: no socket, no clock.
@Suite("Pool shares")
struct PoolShareTests {
    typealias Machine = PoolStateMachine
    typealias Action = PoolStateMachine.Action

    private let start = ContinuousClock.now
    private let one = UUID()
    private let other = UUID()

    private func waiter(_ value: Int) -> Machine.WaiterID { Machine.WaiterID(value: value) }

    private func connection(_ value: Int) -> Machine.ConnectionID { Machine.ConnectionID(value: value) }

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    /// A pool whose connections 0, 1, 2 … are all open and idle.
    private func full(size: Int) -> Machine {
        var machine = Machine(configuration: PoolConfiguration(size: size))
        _ = machine.maintain(true, now: at(0))
        for number in 0..<size { _ = machine.opened(connection(number), jitter: 0, now: at(0)) }
        return machine
    }

    /// Leases for waiters, one after the other.
    private func lease(_ waiters: ClosedRange<Int>, for group: UUID?, of machine: inout Machine) -> [Action] {
        waiters.flatMap { machine.lease(waiter($0), for: group, deadline: at(10), now: at(1)) }
    }

    private func served(_ actions: [Action]) -> [Int] {
        actions.compactMap { if case .hand(_, let waiter) = $0 { waiter.value } else { nil } }
    }

    @Test("a group holds at most half of the pool, and at least one connection", arguments: 1...11)
    func share(size: Int) {
        var machine = full(size: size)

        let actions = lease(1...20, for: one, of: &machine)

        #expect(served(actions) == Array(1...max(1, size / 2)))
        #expect(machine.statistics.inUse == max(1, size / 2))
        #expect(machine.statistics.waiting == 20 - max(1, size / 2))
    }

    @Test("waiters without a group have no limit")
    func noGroup() {
        var machine = full(size: 4)

        #expect(served(lease(1...9, for: nil, of: &machine)) == [1, 2, 3, 4])
    }

    @Test("other groups, and waiters without one, overtake the waiters of a group that holds its share")
    func overtaking() {
        var machine = full(size: 4)
        #expect(served(lease(1...9, for: one, of: &machine)) == [1, 2])

        #expect(served(lease(10...10, for: other, of: &machine)) == [10])
        #expect(served(lease(11...11, for: nil, of: &machine)) == [11])
    }

    @Test("when a group gives a connection back, its own waiter gets it, in order of arrival")
    func orderWithinGroup() {
        var machine = full(size: 2)
        _ = lease(1...4, for: one, of: &machine)
        let leased = connection(1)

        let order = (0..<4).map { _ in served(machine.giveBack(leased, isUsable: true, now: at(2))) }

        #expect(order == [[2], [3], [4], []])
        #expect(machine.statistics.idle == 2)
    }

    @Test("between groups with room, the waiter that came first is served first")
    func orderBetweenGroups() {
        var machine = full(size: 2)
        _ = lease(1...2, for: nil, of: &machine)
        _ = lease(3...4, for: one, of: &machine)
        _ = lease(5...5, for: other, of: &machine)

        let first = machine.giveBack(connection(0), isUsable: true, now: at(2))
        let second = machine.giveBack(connection(1), isUsable: true, now: at(2))

        #expect(served(first + second) == [3, 5], "4 has to wait for 3, whose group holds its share")
        #expect(served(machine.giveBack(connection(0), isUsable: true, now: at(3))) == [4])
    }

    @Test("waiters that leave some of their group's share to the group's others are overtaken by those")
    func limits() {
        var machine = full(size: 6)
        let limited = (1...4).flatMap {
            machine.lease(waiter($0), for: one, atMost: 2, deadline: at(10), now: at(1))
        }
        #expect(served(limited) == [1, 2])
        #expect(served(lease(5...6, for: one, of: &machine)) == [5])
        #expect(served(lease(7...7, for: other, of: &machine)) == [7])

        let first = machine.giveBack(connection(3), isUsable: true, now: at(2))
        let second = machine.giveBack(connection(5), isUsable: true, now: at(2))
        let third = machine.giveBack(connection(4), isUsable: true, now: at(2))

        #expect(served(first) == [6], "which connection it was doesn't matter")
        #expect(served(second) == [])
        #expect(served(third) == [3])
        #expect(machine.statistics.waiting == 1)
    }

    @Test("a limit below one is one, and one above the share is the share", arguments: [(-3, 1), (0, 1), (9, 3)])
    func limitsBounded(limit: Int, held: Int) {
        var machine = full(size: 6)

        let actions = (1...9).flatMap {
            machine.lease(waiter($0), for: one, atMost: limit, deadline: at(10), now: at(1))
        }

        #expect(served(actions) == Array(1...held))
    }

    @Test("a broken connection of a group no longer counts")
    func broken() {
        var machine = full(size: 2)
        _ = lease(1...2, for: one, of: &machine)

        let actions = machine.giveBack(connection(1), isUsable: false, now: at(2))

        #expect(actions == [.close(connection(1)), .hand(connection(0), to: waiter(2)), .open(connection(2))])
    }

    @Test("a pool that opens on demand opens no connections for waiters that their share keeps waiting")
    func onDemand() {
        var machine = Machine(configuration: PoolConfiguration(size: 4))

        let actions = lease(1...9, for: one, of: &machine)

        #expect(actions == [.open(connection(0)), .open(connection(1))])
        #expect(lease(10...10, for: other, of: &machine) == [.open(connection(2))])
    }

    @Test("a waiter that its share keeps waiting fails at its deadline, though connections are idle")
    func deadline() {
        var machine = full(size: 2)
        _ = lease(1...1, for: one, of: &machine)
        _ = machine.lease(waiter(2), for: one, deadline: at(3), now: at(1))
        _ = machine.lease(waiter(3), for: one, deadline: at(4), now: at(1))

        #expect(machine.nextTick(at(2.5)) == at(3))
        #expect(machine.tick(at(3)) == [.fail(waiter(2), .poolIsExhausted)])
        #expect(served(machine.giveBack(connection(1), isUsable: true, now: at(3))) == [3])
    }

    @Test("a canceled waiter makes room for the next one of its group")
    func cancellation() {
        var machine = full(size: 2)
        _ = lease(1...3, for: one, of: &machine)

        #expect(machine.cancel(waiter(2)) == [.fail(waiter(2), .cancelled)])
        #expect(machine.cancel(waiter(2)) == [])
        #expect(served(machine.giveBack(connection(1), isUsable: true, now: at(2))) == [3])
    }

    @Test("canceling many waiters of a group that holds its share loses none of the others")
    func manyCancellations() {
        var machine = full(size: 2)
        _ = lease(1...500, for: one, of: &machine)
        for value in 2...499 { _ = machine.cancel(waiter(value)) }

        #expect(machine.statistics.waiting == 1)
        #expect(served(machine.giveBack(connection(1), isUsable: true, now: at(2))) == [500])
    }

    @Test("a connection that is checked for a waiter whose group has no more room stays idle")
    func checkedInVain() {
        var machine = full(size: 2)
        #expect(machine.lease(waiter(1), for: one, deadline: at(90), now: at(31)) == [.check(connection(1))])
        #expect(machine.lease(waiter(2), for: one, deadline: at(90), now: at(31)) == [.check(connection(0))])

        #expect(machine.checked(connection(1), isAlive: true, now: at(31)) == [.hand(connection(1), to: waiter(1))])
        #expect(machine.checked(connection(0), isAlive: true, now: at(31)) == [])
        #expect(machine.statistics.idle == 1)
    }

    @Test("while connecting fails, a group's share is half of what is open, and grows again afterwards")
    func shrinkingPool() {
        var machine = full(size: 8)
        // Six sessions end, and the server accepts no new ones.
        for number in 0..<6 { _ = machine.lost(connection(number), now: at(1)) }
        for number in 8..<14 { _ = machine.openingFailed(connection(number), reason: "", jitter: 1, now: at(1)) }

        #expect(served(lease(1...4, for: one, of: &machine)) == [1])
        #expect(served(lease(5...5, for: other, of: &machine)) == [5])

        let attempt = machine.tick(at(2))
        #expect(attempt == [.open(connection(14))])
        #expect(served(machine.opened(connection(14), jitter: 0, now: at(2))) == [2], "then the pool fills up again")
    }

    @Test("a pool that shrinks takes nothing away, but gives a group above its share no more")
    func shrinkingUnderLoad() {
        var machine = full(size: 8)
        _ = lease(1...9, for: one, of: &machine)
        for number in 0..<4 { _ = machine.lost(connection(number), now: at(1)) }
        for number in 8..<12 { _ = machine.openingFailed(connection(number), reason: "", jitter: 1, now: at(1)) }

        #expect(served(machine.giveBack(connection(7), isUsable: true, now: at(1.01))) == [])
        #expect(served(machine.giveBack(connection(6), isUsable: true, now: at(1.01))) == [])
        #expect(served(machine.giveBack(connection(5), isUsable: true, now: at(1.01))) == [5])
    }

    @Test("after a failover, a group's leases count until they come back")
    func readOnly() {
        var machine = full(size: 2)
        _ = lease(1...2, for: one, of: &machine)
        _ = machine.foundReadOnly(now: at(2))

        #expect(machine.statistics.waiting == 1)
        #expect(machine.giveBack(connection(1), isUsable: true, now: at(3)).contains(.close(connection(1))))
        #expect(served(machine.opened(connection(2), jitter: 0, now: at(3))) == [2])
    }

    @Test("shutting down and outages fail the waiters of all groups, in order of arrival")
    func shutDown() {
        var machine = full(size: 2)
        _ = lease(1...2, for: one, of: &machine)
        _ = lease(3...4, for: other, of: &machine)

        #expect(
            machine.shutDown() == [
                .fail(waiter(2), .poolIsClosed), .fail(waiter(4), .poolIsClosed),
            ])
    }

    @Test("whatever happens, no group exceeds its share, and every waiter comes out once", arguments: 1...20)
    func randomEvents(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let size = Int.random(in: 1...9, using: &random)
        let groups: [UUID?] = [nil, one, other]
        var machine = full(size: size)
        var groupOf: [Machine.WaiterID: UUID?] = [:]
        var leases: [Machine.ConnectionID: Machine.WaiterID] = [:]
        var out: [Machine.WaiterID: Int] = [:]
        var opening: [Machine.ConnectionID] = []
        func perform(_ actions: [Action]) {
            for action in actions {
                switch action {
                case .hand(let connection, let waiter):
                    #expect(leases[connection] == nil)
                    leases[connection] = waiter
                    out[waiter, default: 0] += 1
                case .fail(let waiter, _): out[waiter, default: 0] += 1
                case .open(let connection): opening.append(connection)
                case .check, .close: break
                }
            }
        }
        for step in 0..<400 {
            let now = at(1 + Double(step) / 100)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                let group = groups[Int.random(in: 0..<groups.count, using: &random)]
                groupOf.updateValue(group, forKey: waiter(step))
                let deadline = now + .milliseconds(Int.random(in: 1...2_000, using: &random))
                perform(machine.lease(waiter(step), for: group, deadline: deadline, now: now))
            case 2:
                if let (connection, _) = leases.min(by: { $0.key.value < $1.key.value }) {
                    leases[connection] = nil
                    perform(machine.giveBack(connection, isUsable: Bool.random(using: &random), now: now))
                }
            case 3: perform(machine.cancel(waiter(Int.random(in: 0...step, using: &random))))
            case 4: perform(machine.tick(now))
            default:
                if !opening.isEmpty { perform(machine.opened(opening.removeFirst(), jitter: 0.5, now: now)) }
            }
            for group in [one, other] {
                #expect(leases.values.count { groupOf[$0] == .some(group) } <= max(1, size / 2))
            }
        }
        perform(machine.shutDown())
        #expect(Set(out.keys) == Set(groupOf.keys))
        #expect(out.values.allSatisfy { $0 == 1 })
    }
}
