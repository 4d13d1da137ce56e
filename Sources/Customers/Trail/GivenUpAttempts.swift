import NIOConcurrencyHelpers

/// Attempts that this instance has answered with 503 without knowing their end. Nobody runs them any more, so the next
/// ``Recovery`` finishes them without waiting for the end of their leases, and their idempotency keys are free.
public final class GivenUpAttempts: Sendable {
    /// What was on its way to the database when it was given up may arrive late, and begin an attempt then.
    private static let memory = Duration.seconds(30)

    private let attempts = NIOLockedValueBox<[UUID: ContinuousClock.Instant]>([:])

    public init() {}

    /// Gives an attempt up; it needn't have begun.
    func add(_ attempt: UUID) {
        attempts.withLockedValue { $0[attempt] = .now + Self.memory }
    }

    /// Those that may have to be finished yet.
    var current: [UUID] {
        attempts.withLockedValue { attempts in
            let now = ContinuousClock.now
            attempts = attempts.filter { $0.value > now }
            return Array(attempts.keys)
        }
    }

    /// They are somebody else's to finish.
    func remove(_ released: [UUID]) {
        attempts.withLockedValue { attempts in
            for attempt in released { attempts[attempt] = nil }
        }
    }
}
