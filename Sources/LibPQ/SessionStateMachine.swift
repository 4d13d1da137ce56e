import Synchronization

/// The decisions of one session: events in, actions out. No I/O and no clock.
///
/// One caller at a time holds the session, for an *exchange* of one or more round trips. ``Connection`` performs the
/// actions.
struct SessionStateMachine {
    typealias Instant = ContinuousClock.Instant
    typealias Ticket = UInt64

    /// What an exchange is suspended for.
    enum Event: Hashable {
        /// The next result has arrived.
        case result
        /// The socket accepts more, or has something to read.
        case flush
    }

    /// Why a suspended exchange continues.
    enum Wake: Hashable {
        case ready
        case deadline
        case closed
    }

    struct Suspension: Hashable {
        let event: Event
        let deadline: Instant
    }

    struct Exchange: Hashable {
        let ticket: Ticket
        /// Whether the server may be asked to cancel its statement: never one that commits.
        let isCancellable: Bool
        fileprivate(set) var isCancelRequested = false
        fileprivate(set) var suspension: Suspension?
    }

    /// Why a session is closed.
    enum Reason: Hashable {
        /// By this side: closed by its owner, past a deadline, or with a cancel request that may still arrive.
        case abandoned
        /// By the server or the network, with what the server said, if anything.
        case lost(ServerError?)
        /// The server still accepts statements, but an error said that it is of no more use.
        case retired(ServerError)
    }

    enum State: Hashable {
        /// No exchange is running. A transaction may be open.
        case idle(isInTransaction: Bool)
        case busy(Exchange)
        /// The server has closed the socket. The exchange takes the results that have arrived, but can't send.
        /// A broken socket has nothing left to read.
        case draining(Exchange, isBroken: Bool)
        /// An error has made the session useless: it closes when the exchange finishes.
        indirect case retired(Exchange, ServerError)
        indirect case closed(Reason)
    }

    enum Action: Hashable {
        /// Read what the socket holds, then report it with `hasRead`.
        case read
        /// Read until the socket fails, for the server's last words, then report it with `hasRead`.
        case readToEnd
        case stopWatching
        case setTimer(Instant)
        case resume(Wake)
        /// Ask the server to cancel the running statement.
        case cancelStatement
        /// Free the connection.
        case close
    }

    private(set) var state = State.idle(isInTransaction: false)
    private var lastTicket: Ticket = 0

    // MARK: - Events from callers

    /// A caller wants the session for an exchange, which ``finish(isInTransaction:wasCancelled:lastWords:)`` ends.
    mutating func begin(
        isCancellable: Bool, deadline: Instant, now: Instant
    ) throws(DatabaseError) -> Ticket {
        switch state {
        case .closed(let reason):
            throw .connectionLost(reason.error)
        case .busy, .draining, .retired:
            throw .unavailable("the connection is busy with another caller's statement")
        case .idle:
            guard now < deadline else { throw .deadlineExceeded }
            lastTicket += 1
            state = .busy(Exchange(ticket: lastTicket, isCancellable: isCancellable))
            return lastTicket
        }
    }

    /// The exchange wants to send.
    func checkSending(deadline: Instant, now: Instant) throws(DatabaseError) {
        switch state {
        case .busy:
            guard now < deadline else { throw .deadlineExceeded }
        case .retired(_, let error):
            throw .connectionLost(error)
        case .closed(let reason):
            throw .connectionLost(reason.error)
        case .draining, .idle:
            throw .connectionLost(nil)
        }
    }

    /// The exchange wants to wait.
    ///
    /// - Returns: nil if it has to wait for a `resume`; otherwise the reason why it doesn't.
    mutating func suspend(for event: Event, until deadline: Instant, now: Instant) -> Wake? {
        switch state {
        case .busy(var exchange):
            guard now < deadline else { return .deadline }
            exchange.suspension = Suspension(event: event, deadline: deadline)
            state = .busy(exchange)
            return nil
        case .draining, .retired, .idle:
            return .ready
        case .closed:
            return .closed
        }
    }

    /// The caller's task was canceled.
    mutating func cancel(_ ticket: Ticket) -> [Action] {
        guard case .busy(var exchange) = state, exchange.ticket == ticket, exchange.isCancellable,
            !exchange.isCancelRequested
        else { return [] }
        exchange.isCancelRequested = true
        state = .busy(exchange)
        return [.cancelStatement]
    }

    /// The exchange can't finish: its deadline has passed, or its caller has failed.
    mutating func giveUp() -> [Action] {
        guard let exchange else { return [] }
        return (exchange.isCancellable ? [.cancelStatement] : []) + close(.abandoned)
    }

    /// A round trip of the exchange is over.
    ///
    /// - Parameters:
    ///   - error: what the server answered.
    ///   - isInStep: everything was answered, and the connection is ready for the next round trip.
    ///   - lastWords: what the server said outside of any statement.
    mutating func tripEnded(error: ServerError?, isInStep: Bool, lastWords: ServerError?) -> [Action] {
        guard let exchange else { return [] }
        if let error, error.retiresSession {
            guard isInStep else { return close(.retired(error)) }
            state = .retired(exchange, error)
            return []
        }
        return isInStep ? [] : close(.lost(lastWords))
    }

    /// The exchange is over.
    ///
    /// - Parameter wasCancelled: the requested cancellation has ended the exchange's statement.
    mutating func finish(isInTransaction: Bool, wasCancelled: Bool, lastWords: ServerError?) -> [Action] {
        switch state {
        case .busy(let exchange) where exchange.isCancelRequested && !wasCancelled:
            // The request is still on its way, and would cancel the next caller's statement.
            return close(.abandoned)
        case .busy:
            state = .idle(isInTransaction: isInTransaction)
            return []
        case .draining(_, let isBroken):
            state = .closed(.lost(lastWords))
            return isBroken ? [.close] : [.readToEnd, .close]
        case .retired(_, let error):
            return close(.retired(error))
        case .idle, .closed:
            return []
        }
    }

    /// The owner wants the session to end now, whatever it is doing.
    mutating func abandon() -> [Action] {
        close(.abandoned)
    }

    // MARK: - Events from the socket and the clock

    mutating func socketIsReady(isHungUp: Bool) -> [Action] {
        switch state {
        case .idle:
            return [isHungUp ? .readToEnd : .read]
        case .busy(let exchange) where isHungUp:
            // The exchange takes all results that are there before more is read: at the end of the stream libpq forgets
            // which statements it has sent, and an error that had arrived is no longer theirs.
            return drain(exchange, isBroken: false)
        case .busy(let exchange):
            return exchange.suspension == nil ? [] : [.read]
        case .draining, .retired, .closed:
            return []
        }
    }

    /// - Parameters:
    ///   - isIntact: the socket hasn't failed.
    ///   - isBusy: the next result hasn't arrived in full.
    ///   - lastWords: what the server said outside of any statement.
    mutating func hasRead(isIntact: Bool, isBusy: Bool, lastWords: ServerError?) -> [Action] {
        switch state {
        case .idle where !isIntact:
            return close(.lost(lastWords))
        case .closed(.lost(nil)):
            state = .closed(.lost(lastWords))
            return []
        case .busy(let exchange) where !isIntact, .draining(let exchange, _) where !isIntact:
            return [.stopWatching] + drain(exchange, isBroken: true)
        case .busy(var exchange):
            guard let suspension = exchange.suspension, suspension.event == .flush || !isBusy else { return [] }
            exchange.suspension = nil
            state = .busy(exchange)
            return [.resume(.ready)]
        case .idle, .draining, .retired, .closed:
            return []
        }
    }

    mutating func timerHasFired(now: Instant) -> [Action] {
        guard case .busy(var exchange) = state, let suspension = exchange.suspension else { return [] }
        guard suspension.deadline <= now else { return [.setTimer(suspension.deadline)] }
        exchange.suspension = nil
        state = .busy(exchange)
        return [.resume(.deadline)]
    }

    // MARK: - State

    var exchange: Exchange? {
        switch state {
        case .busy(let exchange), .draining(let exchange, _), .retired(let exchange, _): exchange
        case .idle, .closed: nil
        }
    }

    private mutating func drain(_ exchange: Exchange, isBroken: Bool) -> [Action] {
        var drained = exchange
        drained.suspension = nil
        state = .draining(drained, isBroken: isBroken)
        return exchange.suspension == nil ? [] : [.resume(.ready)]
    }

    private mutating func close(_ reason: Reason) -> [Action] {
        if case .closed = state { return [] }
        let isSuspended = exchange?.suspension != nil
        state = .closed(reason)
        return isSuspended ? [.close, .resume(.closed)] : [.close]
    }
}

extension SessionStateMachine {
    /// The state as it is readable from any thread, without asking the connection's actor.
    enum Condition: UInt8, AtomicRepresentable, Sendable {
        /// No exchange is running and no transaction is open.
        case clean
        /// No exchange is running, but a transaction is open or has failed.
        case inTransaction
        /// An exchange is running.
        case active
        case closed
        /// Closed, because the server refused to write.
        case closedAsReadOnly
    }

    var condition: Condition {
        switch state {
        case .idle(let isInTransaction): isInTransaction ? .inTransaction : .clean
        case .busy, .draining, .retired: .active
        case .closed(.retired(let error)) where error.sqlstate == .readOnlyTransaction: .closedAsReadOnly
        case .closed: .closed
        }
    }
}

extension SessionStateMachine.Condition {
    var isClosed: Bool {
        switch self {
        case .closed, .closedAsReadOnly: true
        case .clean, .inTransaction, .active: false
        }
    }
}

extension SessionStateMachine.Reason {
    /// What the server said.
    var error: ServerError? {
        switch self {
        case .abandoned: nil
        case .lost(let error): error
        case .retired(let error): error
        }
    }
}

extension SessionStateMachine.State {
    var isDraining: Bool {
        if case .draining = self { true } else { false }
    }

    /// The socket has failed: nothing more can be read.
    var isBroken: Bool {
        switch self {
        case .draining(_, let isBroken): isBroken
        case .idle, .busy, .retired, .closed: false
        }
    }
}
