import LibPQ
import Logging

/// What every command does first: read the settings; and what most do next: connect as the owner.
enum CommandRunner {
    static func run(_ body: (Settings) async throws -> Void) async throws {
        try await body(try Settings())
    }

    /// - Parameter name: what `pg_stat_activity` shows.
    static func connected(
        as name: String, _ body: (Settings, Connection) async throws -> Void
    ) async throws {
        try await run { settings in
            let connection = try await Connection.connect(
                ConnectionSettings(
                    conninfo: settings.ownerConninfo,
                    applicationName: "customerd \(name)",
                    preparesStatements: settings.preparesStatements
                ),
                deadline: .now + .seconds(10)
            )
            do {
                try await body(settings, connection)
                await connection.close()
            } catch {
                await connection.close()
                throw error
            }
        }
    }

    /// Logs go to standard error, so that standard output is the answer's alone.
    static func logger(_ settings: Settings) -> Logger {
        var logger = Logger(label: "customerd") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = settings.logLevel
        return logger
    }
}
