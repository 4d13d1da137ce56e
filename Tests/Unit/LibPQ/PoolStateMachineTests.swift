import Testing

@testable import LibPQ

/// The pool's decisions, on values: no socket, no clock.
@Suite("Pool decisions")
struct PoolStateMachineTests {
    typealias Machine = PoolStateMachine
    typealias Action = PoolStateMachine.Action

    private let start = ContinuousClock.now
    private let first = Machine.ConnectionID(value: 0)
    private let second = Machine.ConnectionID(value: 1)

    private func waiter(_ value: Int) -> Machine.WaiterID { Machine.WaiterID(value: value) }

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    private func machine(size: Int = 2) -> Machine {
        Machine(configuration: PoolConfiguration(size: size))
    }

    /// A pool of one connection, which waiter 0 has.
    private func leasedOut() -> Machine {
        var machine = machine(size: 1)
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.opened(first, jitter: 0, now: at(0))
        return machine
    }

    /// A pool that has failed to connect once, at second 0, and pauses for 100 ms.
    private func unreachable() -> Machine {
        var machine = machine(size: 2)
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.openingFailed(first, reason: "refused", jitter: 1, now: at(0))
        return machine
    }

    // MARK: - Leasing

    @Test("a connection is opened for whoever asks, and handed over once it is open")
    func opensOnDemand() {
        var machine = machine()

        #expect(machine.lease(waiter(0), deadline: at(1), now: at(0)) == [.open(first)])
        #expect(machine.statistics.waiting == 1)
        #expect(machine.opened(first, jitter: 0, now: at(0)) == [.hand(first, to: waiter(0))])
        #expect(
            machine.statistics == PoolStatistics(size: 1, idle: 0, inUse: 1, waiting: 0, isReachable: true)
        )
    }

    @Test("no more connections are opened than there may be")
    func staysWithinSize() {
        var machine = machine(size: 2)

        let actions = (0..<5).map { machine.lease(waiter($0), deadline: at(1), now: at(0)) }

        #expect(actions == [[.open(first)], [.open(second)], [], [], []])
    }

    @Test("whoever has waited longest gets the connection that comes back")
    func fairness() {
        var machine = leasedOut()
        for value in 1...3 { _ = machine.lease(waiter(value), deadline: at(10), now: at(0)) }

        let order = (1...3).map { _ in machine.giveBack(first, isUsable: true, now: at(1)) }

        #expect(order == (1...3).map { [.hand(first, to: waiter($0))] })
    }

    @Test("a newcomer doesn't overtake who waits while a connection is being opened")
    func newcomerQueuesUp() {
        var machine = machine(size: 1)
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))

        #expect(machine.opened(first, jitter: 0, now: at(0)) == [.hand(first, to: waiter(0))])
        #expect(machine.giveBack(first, isUsable: true, now: at(0)) == [.hand(first, to: waiter(1))])
    }

    @Test("the connection used last is handed out first")
    func prefersWarm() {
        var machine = machine()
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))
        _ = machine.opened(first, jitter: 0, now: at(0))
        _ = machine.opened(second, jitter: 0, now: at(0))
        _ = machine.giveBack(second, isUsable: true, now: at(1))
        _ = machine.giveBack(first, isUsable: true, now: at(2))

        #expect(machine.lease(waiter(2), deadline: at(10), now: at(3)) == [.hand(first, to: waiter(2))])
    }

    @Test("a broken connection is replaced for who waits")
    func replacesBroken() {
        var machine = leasedOut()
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))

        #expect(machine.giveBack(first, isUsable: false, now: at(1)) == [.close(first), .open(second)])
        #expect(machine.opened(second, jitter: 0, now: at(1)) == [.hand(second, to: waiter(1))])
    }

    @Test("when a server has turned read-only, the others' connections to it go as well, on loan or not")
    func readOnly() {
        var machine = machine(size: 2)
        _ = machine.maintain(true, now: at(0))
        _ = machine.opened(first, jitter: 0, now: at(0))
        _ = machine.opened(second, jitter: 0, now: at(0))
        _ = machine.lease(waiter(0), deadline: at(10), now: at(1))

        let third = Machine.ConnectionID(value: 2)
        #expect(machine.foundReadOnly(now: at(2)) == [.close(first), .open(third)])
        #expect(machine.foundReadOnly(now: at(2.5)) == [], "what is replaced just now isn't replaced again")
        #expect(
            machine.giveBack(second, isUsable: true, now: at(3)) == [.close(second), .open(.init(value: 3))],
            "though it worked, reading")
    }

    // MARK: - Races

    @Test("a waiter's deadline takes it out of the queue")
    func deadline() {
        var machine = leasedOut()
        _ = machine.lease(waiter(1), deadline: at(1), now: at(0))
        _ = machine.lease(waiter(2), deadline: at(2), now: at(0))

        #expect(machine.nextTick(at(0)) == at(1))
        #expect(machine.tick(at(1)) == [.fail(waiter(1), .poolIsExhausted)])
        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [.hand(first, to: waiter(2))])
    }

    @Test("a deadline that passes after the handing over changes nothing")
    func deadlineAfterHandover() {
        var machine = leasedOut()
        _ = machine.lease(waiter(1), deadline: at(1), now: at(0))

        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [.hand(first, to: waiter(1))])
        #expect(machine.tick(at(1)) == [])
        #expect(machine.statistics.inUse == 1)
    }

    @Test("a cancellation that comes after the handing over changes nothing")
    func cancellationAfterHandover() {
        var machine = leasedOut()
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))

        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [.hand(first, to: waiter(1))])
        #expect(machine.cancel(waiter(1)) == [])
    }

    @Test("a cancelled waiter doesn't get the connection, the next one does")
    func cancellationBeforeHandover() {
        var machine = leasedOut()
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))
        _ = machine.lease(waiter(2), deadline: at(10), now: at(0))

        #expect(machine.cancel(waiter(1)) == [.fail(waiter(1), .cancelled)])
        #expect(machine.cancel(waiter(1)) == [])
        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [.hand(first, to: waiter(2))])
    }

    @Test("a connection that was opened for who has left stays idle")
    func openedForNobody() {
        var machine = machine()
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.cancel(waiter(0))

        #expect(machine.opened(first, jitter: 0, now: at(1)) == [])
        #expect(machine.lease(waiter(1), deadline: at(10), now: at(2)) == [.hand(first, to: waiter(1))])
    }

    @Test("a connection that comes back twice is taken once")
    func givenBackTwice() {
        var machine = leasedOut()

        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [])
        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [])
        #expect(machine.statistics.idle == 1)
    }

    @Test("a connection that ends while it is on loan is closed when it comes back")
    func lostOnLoan() {
        var machine = leasedOut()

        #expect(machine.lost(first, now: at(1)) == [])
        #expect(machine.giveBack(first, isUsable: false, now: at(2)) == [.close(first)])
        #expect(machine.statistics.size == 0)
    }

    @Test("a connection that ends while it is idle is no longer handed out")
    func lostIdle() {
        var machine = leasedOut()
        _ = machine.giveBack(first, isUsable: true, now: at(1))

        #expect(machine.lost(first, now: at(2)) == [.close(first)])
        #expect(machine.lease(waiter(1), deadline: at(10), now: at(3)) == [.open(second)])
    }

    @Test("a deadline that has passed already fails at once")
    func deadlineBefore() {
        var machine = machine()

        #expect(machine.lease(waiter(0), deadline: at(0), now: at(0)) == [.fail(waiter(0), .poolIsExhausted)])
    }

    // MARK: - Age

    @Test("a connection that was idle for long is checked before it is handed out")
    func idleCheck() {
        var machine = leasedOut()
        _ = machine.giveBack(first, isUsable: true, now: at(1))

        #expect(machine.lease(waiter(1), deadline: at(90), now: at(31.5)) == [.check(first)])
        #expect(machine.checked(first, isAlive: true, now: at(31.5)) == [.hand(first, to: waiter(1))])
    }

    @Test("a connection that fails its check is replaced")
    func failedCheck() {
        var machine = leasedOut()
        _ = machine.giveBack(first, isUsable: true, now: at(1))
        _ = machine.lease(waiter(1), deadline: at(90), now: at(31.5))

        #expect(machine.checked(first, isAlive: false, now: at(32)) == [.close(first), .open(second)])
    }

    @Test("a waiter whose deadline passes during the check leaves the connection idle")
    func deadlineDuringCheck() {
        var machine = leasedOut()
        _ = machine.giveBack(first, isUsable: true, now: at(1))
        _ = machine.lease(waiter(1), deadline: at(32), now: at(31.5))

        #expect(machine.tick(at(32)) == [.fail(waiter(1), .poolIsExhausted)])
        #expect(machine.checked(first, isAlive: true, now: at(33)) == [])
        #expect(machine.statistics.idle == 1)
    }

    @Test("maintenance checks what has been idle")
    func maintenanceChecks() {
        var machine = leasedOut()
        _ = machine.giveBack(first, isUsable: true, now: at(1))
        _ = machine.maintain(true, now: at(2))

        #expect(machine.tick(at(31)) == [])
        #expect(machine.tick(at(31.5)) == [.check(first)])
        #expect(machine.tick(at(32)) == [])
        #expect(machine.checked(first, isAlive: true, now: at(33)) == [])
        #expect(machine.tick(at(34)) == [])
    }

    @Test("a connection past its lifetime is closed, idle or coming back, and replaced")
    func lifetime() {
        var machine = machine(size: 2)
        _ = machine.maintain(true, now: at(0))
        _ = machine.opened(first, jitter: 0, now: at(0))
        _ = machine.opened(second, jitter: 0, now: at(0))
        _ = machine.lease(waiter(0), deadline: at(2000), now: at(1))

        let third = Machine.ConnectionID(value: 2)
        let fourth = Machine.ConnectionID(value: 3)
        #expect(machine.tick(at(1801)) == [.close(first), .open(third)])
        #expect(machine.giveBack(second, isUsable: true, now: at(1801)) == [.close(second), .open(fourth)])
    }

    @Test("lifetimes are spread by up to a tenth")
    func lifetimeJitter() {
        var machine = machine(size: 2)
        _ = machine.maintain(true, now: at(0))
        _ = machine.opened(first, jitter: 1, now: at(0))
        _ = machine.opened(second, jitter: 0, now: at(0))

        let third = Machine.ConnectionID(value: 2)
        #expect(machine.tick(at(1700)) == [.close(first), .check(second), .open(third)])
    }

    @Test("maintenance keeps the pool full")
    func maintenanceFills() {
        var machine = machine(size: 2)

        #expect(machine.maintain(true, now: at(0)) == [.open(first), .open(second)])
        _ = machine.opened(first, jitter: 0, now: at(0))
        #expect(machine.lost(first, now: at(1)) == [.close(first), .open(Machine.ConnectionID(value: 2))])
    }

    // MARK: - Outages

    @Test("when connecting fails and nothing is open, everybody who waits is told at once")
    func failsWaiters() {
        var machine = machine(size: 1)
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))

        let actions = machine.openingFailed(first, reason: "refused", jitter: 1, now: at(0))

        #expect(actions == [0, 1].map { .fail(waiter($0), .unavailable("refused")) })
        #expect(!machine.statistics.isReachable)
    }

    @Test("while the database is unreachable, who asks is refused at once")
    func refusesAtOnce() {
        var machine = unreachable()

        let actions = machine.lease(waiter(1), deadline: at(10), now: at(0.05))

        #expect(actions == [.fail(waiter(1), .unavailable("refused"))])
    }

    @Test("who asks after the pause has the next try made, one at a time")
    func demandTriesAgain() {
        var machine = unreachable()

        #expect(machine.lease(waiter(1), deadline: at(10), now: at(0.2)) == [.open(second)])
        #expect(machine.lease(waiter(2), deadline: at(10), now: at(0.2)) == [.fail(waiter(2), .unavailable("refused"))])
        #expect(machine.opened(second, jitter: 0, now: at(0.3)) == [.hand(second, to: waiter(1))])
        #expect(machine.statistics.isReachable)
    }

    @Test("pauses double up to the limit, and are jittered down to a half")
    func backoffGrows() {
        var machine = machine(size: 1)
        var now = 0.0
        var pauses: [Duration] = []
        _ = machine.maintain(true, now: at(now))
        for attempt in 0..<12 {
            _ = machine.openingFailed(
                Machine.ConnectionID(value: attempt), reason: "refused", jitter: attempt == 11 ? 0 : 1, now: at(now)
            )
            // Maintenance has its next tick after a second at the latest, so the pause is found by trying.
            while machine.tick(at(now)).isEmpty { now += 0.05 }
            pauses.append(.zero)
            pauses[attempt] = .milliseconds(Int((now * 1000).rounded()))
        }

        let deltas = zip(pauses, [.zero] + pauses).map { $0 - $1 }
        let expected: [Double] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 32, 32, 16]
        for (delta, seconds) in zip(deltas, expected) {
            #expect(abs(delta / .seconds(1) - seconds) <= 0.11)
        }
    }

    @Test("after a long outage, demand has a try made within half a second")
    func demandCapsBackoff() {
        var machine = machine(size: 1)
        _ = machine.maintain(true, now: at(0))
        var now = 0.0
        for attempt in 0..<12 {
            _ = machine.openingFailed(Machine.ConnectionID(value: attempt), reason: "", jitter: 1, now: at(now))
            now += 40
            _ = machine.tick(at(now))
        }
        _ = machine.openingFailed(Machine.ConnectionID(value: 12), reason: "", jitter: 1, now: at(now))

        #expect(machine.tick(at(now + 1)) == [])
        #expect(
            machine.lease(waiter(0), deadline: at(now + 9), now: at(now + 0.4)) == [.fail(waiter(0), .unavailable(""))])
        #expect(
            machine.lease(waiter(1), deadline: at(now + 9), now: at(now + 0.6))
                == [.open(Machine.ConnectionID(value: 13))]
        )
    }

    @Test("attempts that fail together count as one failure")
    func failTogether() {
        var machine = machine(size: 2)
        _ = machine.maintain(true, now: at(0))
        _ = machine.openingFailed(first, reason: "refused", jitter: 1, now: at(0))
        _ = machine.openingFailed(second, reason: "refused", jitter: 1, now: at(0.01))

        #expect(machine.tick(at(0.11)) == [.open(Machine.ConnectionID(value: 2))])
    }

    @Test("when connecting fails while others are open, who waits goes on waiting for these")
    func waitsForOthers() {
        var machine = machine(size: 2)
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.opened(first, jitter: 0, now: at(0))
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))

        #expect(machine.openingFailed(second, reason: "too many", jitter: 1, now: at(0)) == [])
        #expect(machine.giveBack(first, isUsable: true, now: at(1)) == [.hand(first, to: waiter(1))])
    }

    @Test("once one connection is open again, the others follow")
    func recovers() {
        var machine = machine(size: 2)
        _ = machine.maintain(true, now: at(0))
        _ = machine.openingFailed(first, reason: "refused", jitter: 1, now: at(0))
        _ = machine.openingFailed(second, reason: "refused", jitter: 1, now: at(0))
        let third = Machine.ConnectionID(value: 2)

        #expect(machine.tick(at(0.1)) == [.open(third)])
        #expect(machine.opened(third, jitter: 0, now: at(0.2)) == [.open(Machine.ConnectionID(value: 3))])
    }

    // MARK: - Shutdown

    @Test("shutting down refuses who waits and who comes, and closes what is idle, later what is on loan")
    func shutDown() {
        var machine = machine(size: 2)
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))
        _ = machine.lease(waiter(1), deadline: at(10), now: at(0))
        _ = machine.opened(first, jitter: 0, now: at(0))
        _ = machine.opened(second, jitter: 0, now: at(0))
        _ = machine.giveBack(first, isUsable: true, now: at(0))

        #expect(machine.shutDown() == [.close(first)])
        #expect(machine.lease(waiter(2), deadline: at(10), now: at(1)) == [.fail(waiter(2), .poolIsClosed)])
        #expect(machine.giveBack(second, isUsable: true, now: at(1)) == [.close(second)])
        #expect(machine.statistics.size == 0)
    }

    @Test("a connection that is opened after the shutdown is closed")
    func openedAfterShutdown() {
        var machine = machine()
        _ = machine.lease(waiter(0), deadline: at(10), now: at(0))

        #expect(machine.shutDown() == [.fail(waiter(0), .poolIsClosed)])
        #expect(machine.opened(first, jitter: 0, now: at(1)) == [.close(first)])
    }
}
