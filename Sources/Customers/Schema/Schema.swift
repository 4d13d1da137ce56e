public import LibPQ

/// The schema of a database, as a whole.
public enum Schema {
    /// The version that this binary works with.
    public static var version: Int { Migration.all.last?.version ?? 0 }

    /// Refuses a database that isn't at the schema of this binary, neither behind it nor ahead.
    public static func check(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(ServeGuardError) {
        let applied: [AppliedMigration]
        do {
            applied = try await AppliedMigration.all(connection, deadline: deadline)
        } catch {
            throw .init(error)
        }
        if let edited = applied.first(where: { $0.differs(from: Migration.all) }) { throw .edited(name: edited.name) }
        let found = applied.last?.version ?? 0
        if found > version { throw .newer(version: found, known: version) }
        if applied.count < Migration.all.count { throw .notMigrated(version: found, needed: version) }
    }
}
