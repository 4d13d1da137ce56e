import LibPQ
import Logging
import NIOConcurrencyHelpers
import ServiceLifecycle

/// Background work for the apps that have some, each in a task of its own: one whose customers or whose chain is locked delays
/// no other.
struct AppWork: Sendable {
    /// At one time.
    private static let mostApps = 16

    /// For the log.
    let name: String
    /// From one look for work to the next.
    let interval: Duration
    let logger: Logger

    /// Looks for work until the instance stops, then waits for what is under way.
    ///
    /// - Parameters:
    ///   - apps: those that have some, the one that has waited longest first.
    ///   - step: some work of an app. Returns whether there may be more.
    func run(
        apps: @Sendable () async throws(DatabaseError) -> [UUID],
        step: @escaping @Sendable (UUID) async throws(DatabaseError) -> Bool
    ) async {
        let busy = NIOLockedValueBox<Set<UUID>>([])
        await withDiscardingTaskGroup { group in
            while !Task.isShuttingDownGracefully, !Task.isCancelled {
                do throws(DatabaseError) {
                    for appID in try await apps() {
                        let begins = busy.withLockedValue { $0.count < Self.mostApps && $0.insert(appID).inserted }
                        guard begins else { continue }
                        group.addTask {
                            do throws(DatabaseError) {
                                while try await step(appID), !Task.isShuttingDownGracefully, !Task.isCancelled {}
                            } catch {
                                logger.report(error, in: name)
                            }
                            busy.withLockedValue { _ = $0.remove(appID) }
                        }
                    }
                } catch {
                    logger.report(error, in: name)
                }
                try? await cancelWhenGracefulShutdown { try await Task.sleep(for: interval) }
            }
        }
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
