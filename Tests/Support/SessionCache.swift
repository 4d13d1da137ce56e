import LibPQ
import NIOConcurrencyHelpers

/// A few sessions of a superuser that a test's questions share, since a session costs more than a question.
final class SessionCache: Sendable {
    private let conninfo: String
    private let idle = NIOLockedValueBox<[Connection]>([])
    private let slots = Slots(count: 8)

    init(conninfo: String) {
        self.conninfo = conninfo
    }

    /// Opens a session, with patience: the machine may be busy with many tests.
    static func connect(_ conninfo: String) async throws -> Connection {
        let settings = ConnectionSettings(conninfo: conninfo, connectTimeout: .seconds(120))
        let connection = try await Connection.connect(settings, deadline: .now + .seconds(120))
        // The program's own sessions find built-in objects only; tests name tables of the schema public without it.
        try await connection.script("SET search_path = public", deadline: .now + .seconds(120))
        if PrivateCluster.isDistributed {
            // What tests ask of all apps, and the triggers that they add.
            try await connection.script(
                "SET citus.allow_nested_distributed_execution = on; SET citus.enable_unsafe_triggers = on",
                deadline: .now + .seconds(120))
        }
        return connection
    }

    func query(_ statement: Statement) async throws -> QueryResult {
        await slots.take()
        defer { slots.giveBack() }
        let connection = try await take()
        do {
            let result = try await connection.query(statement, deadline: .now + .seconds(120))
            idle.withLockedValue { $0.append(connection) }
            return result
        } catch {
            await connection.close()
            throw error
        }
    }

    func close() async {
        for connection in idle.withLockedValue({ connections in
            defer { connections = [] }
            return connections
        }) { await connection.close() }
    }

    private func take() async throws -> Connection {
        while let connection = idle.withLockedValue({ $0.popLast() }) {
            if connection.isUsable { return connection }
        }
        return try await Self.connect(conninfo)
    }
}
