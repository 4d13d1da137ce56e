import LibPQ

/// A row of `service.migrations`: what a database says has been applied to it.
struct AppliedMigration: Sendable, Hashable {
    let version: Int
    let name: String
    let checksum: [UInt8]

    /// In order; empty where nothing was ever migrated.
    static func all(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [AppliedMigration] {
        let exists = try await connection.query(
            Statement("SELECT to_regclass('service.migrations') IS NOT NULL", prepared: false), deadline: deadline
        )
        guard exists.rows.first?.bool(0) == true else { return [] }
        let applied = try await connection.query(
            Statement(
                """
                SELECT version, name, checksum
                FROM service.migrations
                ORDER BY version
                """,
                prepared: false
            ),
            deadline: deadline
        )
        return applied.rows.map { row in
            AppliedMigration(version: row.int(0) ?? 0, name: row[1] ?? "", checksum: row.bytes(2) ?? [])
        }
    }

    /// Whether the binary has another migration under this version.
    func differs(from migrations: [Migration]) -> Bool {
        guard let known = migrations.first(where: { $0.version == version }) else { return false }
        return known.checksum != checksum
    }
}
