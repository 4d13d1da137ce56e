import LibPQ
import Logging

/// What every command does first: read the settings; and what most do next: connect as the owner.
enum CommandRunner {
    static func run<Value>(_ body: (Settings) async throws -> Value) async throws -> Value {
        try await body(try Settings())
    }

    /// - Parameter name: what `pg_stat_activity` shows.
    static func connected<Value>(
        as name: String, _ body: (Settings, Connection) async throws -> Value
    ) async throws -> Value {
        try await run { settings in
            let owner = ConnectionSettings(
                conninfo: settings.ownerConninfo,
                applicationName: "customerd \(name)",
                preparesStatements: settings.preparesStatements
            )
            return try await connected(owner, deadline: .now + .seconds(10)) { connection in
                try await body(settings, connection)
            }
        }
    }

    /// Opens a session for the body and closes it afterwards.
    static func connected<Value>(
        _ settings: ConnectionSettings, deadline: ContinuousClock.Instant, _ body: (Connection) async throws -> Value
    ) async throws -> Value {
        let connection = try await Connection.connect(settings, deadline: deadline)
        do {
            let value = try await body(connection)
            await connection.close()
            return value
        } catch {
            await connection.close()
            throw error
        }
    }

    /// Runs the body with a log on standard error, so that standard output holds only the answer.
    static func logging<Value>(
        _ settings: Settings, _ body: (Logger) async throws -> Value
    ) async throws -> Value {
        let writer = LogWriter()
        defer { writer.flush() }
        var logger = Logger(label: "customerd") { label in
            LineLogHandler(label: label, format: settings.logFormat, writer: writer)
        }
        logger.logLevel = settings.logLevel
        return try await body(logger)
    }
}
