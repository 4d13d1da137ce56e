import LibPQ

/// A transaction that a test holds open, to stand in the service's way.
public struct OpenTransaction: Sendable {
    private let connection: Connection

    init(_ connection: Connection) {
        self.connection = connection
    }

    public func run(_ sql: String) async throws {
        try await connection.script(sql, deadline: .now + .seconds(120))
    }

    public func commit() async throws {
        try await run("COMMIT")
        await connection.close()
    }

    public func rollBack() async throws {
        try await run("ROLLBACK")
        await connection.close()
    }
}

extension TestDatabase {
    /// Begins a transaction with its first statements.
    public func begin(_ sql: String) async throws -> OpenTransaction {
        let transaction = OpenTransaction(try await connect())
        try await transaction.run("BEGIN; \(sql)")
        return transaction
    }

    /// Returns when so many sessions of the service wait for a lock.
    public func waitUntilBlocked(_ count: Int = 1) async throws {
        try await eventually("\(count) sessions of the service waited for a lock") {
            let sql = """
                SELECT count(*)
                FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'customerd_service' AND wait_event_type = 'Lock'
                """
            var waiting = try await value(sql).flatMap { Int($0) } ?? 0
            for node in cluster.nodes {
                waiting += Int(try await node.psql(sql, database: name).filter(\.isNumber)) ?? 0
            }
            return waiting >= count
        }
    }
}
