/// What the server allows its clients, all together and each of them.
public struct ClientLimits: Sendable {
    /// Connections that are open at one time. One more takes the place of the one that has been waiting for its
    /// client the longest.
    public let connections: Int
    /// How long a request may take to arrive, from its first byte to its last.
    public let arrival: Duration
    /// How long a client may let a connection be: until it sends the next request, or takes the answer to the last.
    public let silence: Duration

    public init(connections: Int, arrival: Duration, silence: Duration) {
        self.connections = connections
        self.arrival = arrival
        self.silence = silence
    }
}

/// Whose turn it is on a connection, and until when the client has time. Events in, answers out; no I/O, no clock.
///
/// It counts requests and answers, not bytes: a client that sends a byte a minute is as late as one that sends none.
struct ConnectionTurn {
    typealias Instant = ContinuousClock.Instant

    private let limits: ClientLimits
    /// When the client's present turn began.
    private var since: Instant
    /// A request has begun to arrive and hasn't ended.
    private var isArriving = false
    /// Something of a request has come since the last ``readCompleted(now:)``.
    private var hasReadPart = false
    /// Requests whose head has come and whose answer isn't written.
    private var unanswered = 0
    /// Answers and pieces of answers that are written and that the client hasn't taken.
    private var untaken = 0
    /// Nothing further will come from us.
    private var isFinished = false

    /// - Parameter isSecure: whether a TLS handshake comes first. It has the time of a request.
    init(limits: ClientLimits, isSecure: Bool = false, now: Instant) {
        self.limits = limits
        self.since = now
        isArriving = isSecure
    }

    // MARK: - Events

    /// A request's head has come.
    mutating func headArrived(now: Instant) {
        hasReadPart = true
        unanswered += 1
        begin(now)
    }

    /// A piece of a body has come. It gives no further time.
    mutating func bodyArrived() {
        hasReadPart = true
    }

    /// A request has come whole.
    mutating func requestEnded() {
        hasReadPart = true
        isArriving = false
    }

    /// All that the socket held has been read. Bytes of which nothing came are the beginning of a request.
    mutating func readCompleted(now: Instant) {
        defer { hasReadPart = false }
        guard !hasReadPart, unanswered == 0 else { return }
        begin(now)
    }

    /// The TLS handshake is over, and what has been read was its.
    mutating func handshakeCompleted(now: Instant) {
        hasReadPart = true
        isArriving = false
        since = now
    }

    /// A piece of an answer is written, and others follow.
    mutating func pieceWritten(now: Instant) {
        if untaken == 0 { since = now }
        untaken += 1
    }

    /// An answer is written, or the last of its pieces.
    mutating func answered(now: Instant) {
        unanswered = max(0, unanswered - 1)
        if untaken == 0 { since = now }
        untaken += 1
    }

    /// The client, or the system on its behalf, has taken an answer or a piece of one.
    mutating func answerTaken(now: Instant) {
        untaken -= 1
        since = now
    }

    /// Nothing further will be answered: we have said so, or are about to end.
    mutating func finished(now: Instant) {
        isFinished = true
        since = now
    }

    private mutating func begin(_ now: Instant) {
        guard !isArriving else { return }
        isArriving = true
        if untaken == 0 { since = now }
    }

    // MARK: - State

    /// Whether it is the client's turn, so that nothing but its own time would be lost, were the connection closed.
    var isClientsTurn: Bool {
        untaken > 0 || unanswered == 0 || (unanswered == 1 && isArriving)
    }

    /// When the client will have kept us waiting for too long; nil while it waits for us.
    ///
    /// While the body of an unanswered request arrives, its reader has a deadline and answers.
    var deadline: Instant? {
        if untaken > 0 { return since + (isFinished ? limits.arrival : limits.silence) }
        if unanswered > 0 { return nil }
        return since + (isArriving || isFinished ? limits.arrival : limits.silence)
    }
}
