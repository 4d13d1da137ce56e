import TestSupport
import Testing

@testable import LibPQ

/// The decisions of a session, on values: no socket, no clock.
@Suite("Session decisions")
struct SessionStateMachineTests {
    typealias Machine = SessionStateMachine

    private let start = ContinuousClock.now
    private let shutdown = ServerError(severity: "FATAL", sqlstate: .adminShutdown, message: "")
    private let readOnly = ServerError(sqlstate: .readOnlyTransaction, message: "")
    private let cancellation = ServerError(sqlstate: .queryCanceled, message: "")

    private func at(_ seconds: Double) -> ContinuousClock.Instant { start + .seconds(seconds) }

    /// A session with an exchange until second 10.
    private func busy(isCancellable: Bool = false) throws -> (Machine, Machine.Ticket) {
        var machine = Machine()
        let ticket = try machine.begin(isCancellable: isCancellable, deadline: at(10), now: at(0))
        return (machine, ticket)
    }

    /// A session whose exchange is suspended until second 10.
    private func suspended(for event: Machine.Event = .result, isCancellable: Bool = false) throws -> Machine {
        var (machine, _) = try busy(isCancellable: isCancellable)
        #expect(machine.suspend(for: event, until: at(10), now: at(0)) == nil)
        return machine
    }

    private func refusal(_ machine: Machine) -> DatabaseError? {
        var machine = machine
        do throws(DatabaseError) {
            _ = try machine.begin(isCancellable: false, deadline: at(10), now: at(0))
            return nil
        } catch {
            return error
        }
    }

    // MARK: - Exchanges

    @Test("an exchange begins, ends, and leaves the session to the next one")
    func turns() throws {
        var (machine, first) = try busy()
        #expect(machine.condition == .active)

        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil) == [])
        #expect(machine.condition == .clean)
        #expect(try machine.begin(isCancellable: false, deadline: at(10), now: at(0)) != first)
    }

    @Test("a second caller is refused while an exchange is running, in whatever state it is")
    func secondCaller() throws {
        var (machine, _) = try busy()
        var draining = machine
        _ = draining.socketIsReady(isHungUp: true)
        _ = machine.tripEnded(error: readOnly, isInStep: true, lastWords: nil)

        for machine in [try busy().0, draining, machine] {
            guard case .unavailable = refusal(machine) else {
                Issue.record("\(machine.state)")
                return
            }
        }
    }

    @Test("an exchange whose deadline has passed doesn't begin, and the session stays open")
    func lateCaller() {
        var machine = Machine()

        #expect(throws: DatabaseError.deadlineExceeded) {
            try machine.begin(isCancellable: false, deadline: at(1), now: at(1))
        }
        #expect(machine.condition == .clean)
    }

    @Test("an open transaction is visible between two exchanges")
    func openTransaction() throws {
        var (machine, _) = try busy()

        _ = machine.finish(isInTransaction: true, wasCancelled: false, lastWords: nil)

        #expect(machine.condition == .inTransaction)
        #expect(refusal(machine) == nil)
    }

    // MARK: - Waiting

    @Test("a result that hasn't arrived in full doesn't wake the exchange; the rest of it does")
    func partialResult() throws {
        var machine = try suspended()

        #expect(machine.socketIsReady(isHungUp: false) == [.read])
        #expect(machine.hasRead(isIntact: true, isBusy: true, lastWords: nil) == [])
        #expect(machine.socketIsReady(isHungUp: false) == [.read])
        #expect(machine.hasRead(isIntact: true, isBusy: false, lastWords: nil) == [.resume(.ready)])
    }

    @Test("while sending, whatever is read wakes the exchange")
    func flushing() throws {
        var machine = try suspended(for: .flush)

        #expect(machine.hasRead(isIntact: true, isBusy: true, lastWords: nil) == [.resume(.ready)])
    }

    @Test("an event wakes an exchange once")
    func wokenOnce() throws {
        var machine = try suspended()

        #expect(machine.hasRead(isIntact: true, isBusy: false, lastWords: nil) == [.resume(.ready)])
        #expect(machine.hasRead(isIntact: true, isBusy: false, lastWords: nil) == [])
        #expect(machine.timerHasFired(now: at(11)) == [])
        #expect(machine.abandon() == [.close])
    }

    @Test("while the exchange works, the socket is left alone, so that all results are taken before more is read")
    func notSuspended() throws {
        var (machine, _) = try busy()

        #expect(machine.socketIsReady(isHungUp: false) == [])
    }

    @Test("a timer that fires early is set again; at the deadline it wakes the exchange, which gives up")
    func deadline() throws {
        var machine = try suspended()

        #expect(machine.timerHasFired(now: at(9)) == [.setTimer(at(10))])
        #expect(machine.timerHasFired(now: at(10)) == [.resume(.deadline)])
        #expect(machine.giveUp() == [.close])
        #expect(machine.state == .closed(.abandoned))
    }

    @Test("past the deadline the server is asked to cancel, but never a statement that may commit")
    func deadlineCancels() throws {
        var (machine, _) = try busy(isCancellable: true)

        #expect(machine.suspend(for: .result, until: at(10), now: at(10)) == .deadline)
        #expect(machine.giveUp() == [.cancelStatement, .close])
        #expect(machine.giveUp() == [])
    }

    // MARK: - Closing

    @Test("closing wakes the exchange that is suspended, and the session stays closed")
    func closedWhileSuspended() throws {
        var machine = try suspended()

        #expect(machine.abandon() == [.close, .resume(.closed)])
        #expect(machine.abandon() == [])
        #expect(machine.suspend(for: .result, until: at(10), now: at(0)) == .closed)
        #expect(machine.tripEnded(error: nil, isInStep: true, lastWords: nil) == [])
        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil) == [])
        #expect(machine.condition == .closed)
        #expect(refusal(machine) == .connectionLost(nil))
    }

    @Test("after closing, no exchange sends")
    func closedBeforeSending() throws {
        var (machine, _) = try busy()
        _ = machine.abandon()

        #expect(throws: DatabaseError.connectionLost(nil)) { try machine.checkSending(deadline: at(10), now: at(0)) }
    }

    @Test("after a trip that isn't in step the session is closed, with what the server said")
    func outOfStep() throws {
        var (machine, _) = try busy()

        #expect(machine.tripEnded(error: nil, isInStep: false, lastWords: shutdown) == [.close])
        #expect(refusal(machine) == .connectionLost(shutdown))
    }

    // MARK: - The end of the server's side

    @Test("a session that ends while it is idle is read to its end, for the reason, and closes")
    func hangUpWhileIdle() {
        var machine = Machine()

        #expect(machine.socketIsReady(isHungUp: false) == [.read])
        #expect(machine.hasRead(isIntact: true, isBusy: false, lastWords: nil) == [])
        #expect(machine.socketIsReady(isHungUp: true) == [.readToEnd])
        #expect(machine.hasRead(isIntact: false, isBusy: false, lastWords: shutdown) == [.close])
        #expect(refusal(machine) == .connectionLost(shutdown))
    }

    @Test("a hang-up wakes the exchange to take what has arrived, and it doesn't wait again")
    func hangUpWhileSuspended() throws {
        var machine = try suspended()

        #expect(machine.socketIsReady(isHungUp: true) == [.resume(.ready)])
        #expect(machine.state.isDraining)
        #expect(machine.suspend(for: .result, until: at(10), now: at(0)) == .ready)
        #expect(throws: DatabaseError.connectionLost(nil)) { try machine.checkSending(deadline: at(10), now: at(0)) }
        #expect(machine.hasRead(isIntact: false, isBusy: true, lastWords: nil) == [.stopWatching])
        #expect(machine.state.isBroken)
        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: shutdown) == [.close])
        #expect(refusal(machine) == .connectionLost(shutdown))
    }

    @Test("after a hang-up during an exchange that was answered in full, no other begins")
    func hangUpAfterAnswers() throws {
        var (machine, _) = try busy()
        #expect(machine.socketIsReady(isHungUp: true) == [])

        #expect(machine.tripEnded(error: nil, isInStep: true, lastWords: nil) == [])
        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil) == [.readToEnd, .close])
        #expect(machine.condition == .closed)
        #expect(machine.hasRead(isIntact: false, isBusy: false, lastWords: shutdown) == [])
        #expect(refusal(machine) == .connectionLost(shutdown))
    }

    @Test("a socket that fails wakes the exchange, whose results may have arrived")
    func brokenWhileSuspended() throws {
        var machine = try suspended()

        #expect(
            machine.hasRead(isIntact: false, isBusy: false, lastWords: nil) == [.stopWatching, .resume(.ready)])
        #expect(machine.state.isBroken)
        #expect(machine.abandon() == [.close])
    }

    // MARK: - Errors that make a session useless

    @Test("after an error of a read-only server the exchange finishes, sends nothing more, and the session closes")
    func readOnlyServer() throws {
        var (machine, _) = try busy()

        #expect(machine.tripEnded(error: readOnly, isInStep: true, lastWords: nil) == [])
        #expect(machine.condition == .active)
        #expect(throws: DatabaseError.connectionLost(readOnly)) {
            try machine.checkSending(deadline: at(10), now: at(0))
        }
        #expect(machine.finish(isInTransaction: true, wasCancelled: false, lastWords: nil) == [.close])
        #expect(machine.condition == .closedAsReadOnly)
    }

    @Test("an error that ends the session closes it, and is the reason from then on")
    func fatal() throws {
        var (machine, _) = try busy()

        #expect(machine.tripEnded(error: shutdown, isInStep: false, lastWords: nil) == [.close])
        #expect(refusal(machine) == .connectionLost(shutdown))
    }

    @Test("other errors leave the session open")
    func ordinaryError() throws {
        var (machine, _) = try busy()

        #expect(machine.tripEnded(error: cancellation, isInStep: true, lastWords: nil) == [])
        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil) == [])
        #expect(machine.condition == .clean)
    }

    // MARK: - Cancellation

    @Test("the server is asked once to cancel; when it has, the session stays open")
    func cancelled() throws {
        var (machine, ticket) = try busy(isCancellable: true)

        #expect(machine.cancel(ticket) == [.cancelStatement])
        #expect(machine.cancel(ticket) == [])
        _ = machine.tripEnded(error: cancellation, isInStep: true, lastWords: nil)
        #expect(machine.finish(isInTransaction: false, wasCancelled: true, lastWords: nil) == [])
        #expect(machine.condition == .clean)
    }

    @Test("a request to cancel that came too late may hit the next statement, so the session closes")
    func cancelledTooLate() throws {
        var (machine, ticket) = try busy(isCancellable: true)
        _ = machine.cancel(ticket)

        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil) == [.close])
        #expect(machine.state == .closed(.abandoned))
    }

    @Test("canceling an exchange that has ended doesn't cancel the next one")
    func cancelledAfterwards() throws {
        var (machine, first) = try busy(isCancellable: true)
        _ = machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil)
        _ = try machine.begin(isCancellable: true, deadline: at(10), now: at(0))

        #expect(machine.cancel(first) == [])
    }

    @Test("an exchange that may commit isn't canceled")
    func notCancellable() throws {
        var (machine, ticket) = try busy(isCancellable: false)

        #expect(machine.cancel(ticket) == [])
        #expect(machine.finish(isInTransaction: false, wasCancelled: false, lastWords: nil) == [])
        #expect(machine.condition == .clean)
    }

    @Test("after a hang-up or at a closed session there is nothing to cancel")
    func cancelledTooLateToSend() throws {
        var (machine, ticket) = try busy(isCancellable: true)
        _ = machine.socketIsReady(isHungUp: true)
        #expect(machine.cancel(ticket) == [])

        _ = machine.abandon()
        #expect(machine.cancel(ticket) == [])
    }

    // MARK: - Any order

    @Test(
        "in any order of events, a suspension ends once, and a session is closed once and for good", arguments: 1...50)
    func anyOrder(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var machine = Machine()
        var ticket: Machine.Ticket?
        var isSuspended = false
        var (closings, requests) = (0, 0)
        func perform(_ actions: [Machine.Action]) {
            for action in actions {
                switch action {
                case .resume:
                    #expect(isSuspended)
                    isSuspended = false
                case .close: closings += 1
                case .cancelStatement: requests += 1
                case .read, .readToEnd, .stopWatching, .setTimer: break
                }
            }
        }
        for step in 0..<60 {
            let now = at(Double(step) / 10)
            let error = [nil, nil, cancellation, readOnly, shutdown][Int.random(in: 0..<5, using: &random)]
            let isIntact = Int.random(in: 0..<10, using: &random) > 0
            switch Int.random(in: 0..<10, using: &random) {
            case 0...1 where ticket == nil:
                ticket = try? machine.begin(isCancellable: Bool.random(using: &random), deadline: at(9), now: now)
                requests = 0
            case 2...4 where ticket != nil && !isSuspended:
                isSuspended = machine.suspend(for: .result, until: now + .seconds(1), now: now) == nil
            case 5: perform(machine.socketIsReady(isHungUp: !isIntact))
            case 6:
                perform(
                    machine.hasRead(isIntact: isIntact, isBusy: Bool.random(using: &random), lastWords: error))
            case 7: perform(machine.timerHasFired(now: now))
            case 8:
                if let ticket { perform(machine.cancel(ticket)) }
            case 9 where !isIntact: perform(machine.abandon())
            default:
                guard ticket != nil, !isSuspended else { continue }
                perform(machine.tripEnded(error: error, isInStep: isIntact, lastWords: nil))
                perform(machine.finish(isInTransaction: false, wasCancelled: error == cancellation, lastWords: nil))
                ticket = nil
                #expect(machine.exchange == nil)
            }
            #expect(isSuspended == (machine.exchange?.suspension != nil))
            #expect(closings == (machine.condition.isClosed ? 1 : 0))
            #expect(requests <= 1)
        }
    }
}
