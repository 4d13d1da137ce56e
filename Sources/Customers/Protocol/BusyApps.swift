import LibPQ
import Logging
import NIOConcurrencyHelpers

/// The apps that an instance does background work for, each in a task of its own: one whose customers or whose chain is locked
/// delays no other.
struct BusyApps: Sendable {
    /// At one time.
    private static let most = 16

    private let apps = NIOLockedValueBox<Set<UUID>>([])

    var isEmpty: Bool { apps.withLockedValue(\.isEmpty) }

    /// - Returns: false when the app is busy already, or too many are.
    func begin(_ appID: UUID) -> Bool {
        apps.withLockedValue { $0.count < Self.most && $0.insert(appID).inserted }
    }

    func end(_ appID: UUID) {
        apps.withLockedValue { _ = $0.remove(appID) }
    }
}

extension Logger {
    /// Says that a round of background work failed; in a low voice if the next may go better, as while the database is
    /// away.
    func report(_ error: DatabaseError, in work: String) {
        if error.maySucceedLater {
            debug("\(work): to be tried again", metadata: ["error": "\(error)"])
        } else {
            self.error("\(work) failed", metadata: ["error": "\(error)"])
        }
    }
}

extension ConnectionPool {
    /// The apps that background work waits for, and how far it lags behind.
    func backlog(
        apps: String, lag: String, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (apps: [UUID], lag: Row) {
        let (waiting, behind) = try await withConnection(deadline: deadline) { connection throws(DatabaseError) in
            try await connection.queries(Statement(apps), Statement(lag), deadline: deadline)
        }
        return (try waiting.values(), try behind.get().row())
    }
}
