import ArgumentParser
import Customers
import LibPQ
import Logging
import Metrics
import ServiceLifecycle
import UnixSignals

/// `customerd serve`: answers requests until SIGTERM or SIGINT.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the API until SIGTERM; what runs by then is finished first."
    )

    func run() async throws {
        try await CommandRunner.run { settings in
            try await check(settings)
            let prometheus = PrometheusRegistry()
            MetricsSystem.bootstrap(prometheus)
            try await CommandRunner.logging(settings) { logger in
                let app = App(settings: settings, metrics: prometheus, logger: logger)
                let group = ServiceGroup(
                    configuration: .init(
                        services: try app.services().map { .init(service: $0) },
                        gracefulShutdownSignals: [.sigterm, .sigint],
                        logger: logger
                    )
                )
                // Requests run where their connections do: a switch of threads takes longer than most of their steps.
                try await withTaskExecutorPreference(Reactor.shared.taskExecutor) { try await group.run() }
            }
        }
    }

    /// Refuses to start where it couldn't work, or could do more than it should.
    private func check(_ settings: Settings) async throws {
        let deadline = ContinuousClock.now + .seconds(10)
        let connection = try await Connection.connect(
            ConnectionSettings(conninfo: settings.serviceConninfo), deadline: deadline)
        defer { Task { await connection.close() } }
        try await ServeGuard.check(connection, allowOwner: settings.allowOwner, deadline: deadline)
    }
}
