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
    static func connect(_ conninfo: String, within limit: Duration = .seconds(120)) async throws -> Connection {
        // One of several hosts that says nothing leaves time for the others.
        let timeout = conninfo.contains(",") ? limit / 3 : limit
        let settings = ConnectionSettings(conninfo: conninfo, connectTimeout: timeout)
        let deadline = ContinuousClock.now + limit
        let connection = try await Connection.connect(settings, deadline: deadline)
        // The program's own sessions find built-in objects only; tests name tables of the schema public without it.
        try await connection.script("SET search_path = public", deadline: deadline)
        return connection
    }

    func query(_ statement: Statement, within limit: Duration) async throws -> QueryResult {
        await slots.take()
        defer { slots.giveBack() }
        let deadline = ContinuousClock.now + limit
        let connection = try await take(within: limit)
        do {
            let result = try await connection.query(statement, deadline: deadline)
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

    private func take(within limit: Duration) async throws -> Connection {
        while let connection = idle.withLockedValue({ $0.popLast() }) {
            if connection.isUsable { return connection }
        }
        return try await Self.connect(conninfo, within: limit)
    }
}
