import LibPQ

/// Waiting before the same thing is tried again.
enum Backoff {
    /// Pauses 5 ms × 2^round, jittered to between half and all of it so that rivals don't meet again, but not past
    /// the deadline.
    static func pause(round: Int, until deadline: ContinuousClock.Instant) async {
        let milliseconds = Double(5 << min(round, 8))
        let pause = Duration.milliseconds(Double.random(in: milliseconds / 2...milliseconds))
        try? await Task.sleep(until: min(.now + pause, deadline))
    }

}

extension ConnectionPool {
    /// The only row of a repeatable statement. See ``repeating(for:atMost:deadline:_:)``.
    func row(
        _ statement: Statement, for appID: UUID, atMost limit: Int = .max, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Row {
        try await repeating(for: appID, atMost: limit, deadline: deadline) { connection throws(DatabaseError) in
            try await connection.query(statement, deadline: deadline).row()
        }
    }

    /// Lends a connection for what may be repeated: after a serialization failure, a deadlock or a lost connection it is
    /// done again.
    ///
    /// - Throws: the last error, but not that there was no connection any more when an earlier error leaves it open
    ///   whether it has happened.
    func repeating<R: Sendable>(
        for appID: UUID, atMost limit: Int = .max, deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        var round = 1
        var doubt: DatabaseError?
        while true {
            do {
                return try await withConnection(for: appID, atMost: limit, deadline: deadline, body)
            } catch {
                if error.leavesDoubt { doubt = error }
                guard error.isWorthRetrying, round < 4, ContinuousClock.now < deadline else {
                    if case .unavailable = error { throw doubt ?? error }
                    throw error
                }
                round += 1
                await Backoff.pause(round: round, until: deadline)
            }
        }
    }
}

extension DatabaseError {
    /// Whether the statement may have happened, or may yet.
    var leavesDoubt: Bool {
        switch self {
        case .connectionLost, .deadlineExceeded, .cancelled: true
        case .server, .unavailable, .unexpected: false
        }
    }

    fileprivate var isWorthRetrying: Bool {
        if case .connectionLost = self { true } else { isRetryable }
    }
}

extension Duration {
    /// Whole milliseconds.
    var milliseconds: Int {
        Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000)
    }
}
