public import LibPQ
public import Logging

/// Commits audit entries, in transactions of their own, before the answers they are about go out.
///
/// Group commit: whoever waits at the moment when the previous group is done goes along in the next one, so many
/// entries share one flush. Appending is repeatable, so a group whose COMMIT is in doubt is simply appended again.
/// Tenants and strangers have a connection and a group each, so that a flood of wrong credentials delays nobody.
public struct AuditWriter: Sendable {
    private let tenants: AppendGroup
    private let strangers: AppendGroup
    private let givenUp: GivenUpAttempts

    /// - Parameters:
    ///   - tenants: a pool of one connection.
    ///   - strangers: another.
    ///   - substitute: a pool to go to when these can't have their connections. Callers hold none of it.
    public init(
        tenants: ConnectionPool, strangers: ConnectionPool, substitute: ConnectionPool, givenUp: GivenUpAttempts,
        logger: Logger
    ) {
        self.givenUp = givenUp
        self.tenants = AppendGroup(pool: tenants, substitute: substitute, logger: logger, chain: "tenants")
        self.strangers = AppendGroup(
            pool: strangers, substitute: substitute, logger: logger, chain: "strangers")
    }

    /// Returns when the entry is durable.
    ///
    /// - Returns: the outcome that the trail holds for this attempt, nil when the attempt wasn't ours to record any
    ///   more.
    /// - Throws: when it isn't known to be durable by the deadline; then the attempt is given up.
    @discardableResult
    public func append(
        _ entry: AuditEntry,
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Outcome? {
        guard entry.appID != .zero else { return try await strangers.append(entry, deadline: deadline).get() }
        do {
            return try await tenants.append(entry, deadline: deadline).get()
        } catch {
            givenUp.add(entry.id)
            throw error
        }
    }
}
