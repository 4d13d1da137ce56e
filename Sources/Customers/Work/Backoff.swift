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

    /// Runs a repeatable statement again after a serialization failure, a deadlock or a lost connection.
    static func retrying<Value: Sendable>(
        until deadline: ContinuousClock.Instant,
        _ body: @Sendable () async throws(DatabaseError) -> Value
    ) async throws(DatabaseError) -> Value {
        var round = 1
        while true {
            do {
                return try await body()
            } catch {
                guard error.isWorthRetrying, round < 4, ContinuousClock.now < deadline else { throw error }
                round += 1
                await pause(round: round, until: deadline)
            }
        }
    }
}

extension DatabaseError {
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
