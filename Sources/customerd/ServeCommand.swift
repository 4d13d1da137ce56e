import Administration
import ArgumentParser
import Customers
import LibPQ
import Logging
import Metrics
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// `customerd serve`: answers requests until SIGTERM or SIGINT.
struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve the API until SIGTERM; running requests are finished first."
    )

    func run() async throws {
        let stop = await StopSignals.trap()
        try await CommandRunner.run { settings in
            let (findings, nodes) = try await check(settings)
            let prometheus = PrometheusRegistry()
            MetricsSystem.bootstrap(prometheus)
            try await CommandRunner.logging(settings) { logger in
                for finding in findings {
                    let level: Logger.Level = finding.level == .failure ? .error : .warning
                    logger.log(level: level, "\(finding.message)", metadata: ["check": "\(finding.check)"])
                }
                let app = App(settings: settings, nodes: nodes, metrics: prometheus, logger: logger)
                let group = ServiceGroup(
                    configuration: .init(services: try app.services().map { .init(service: $0) }, logger: logger)
                )
                await stop.handOver(to: group)
                // Requests run where their connections do: a switch of threads takes longer than most of their steps.
                try await withTaskExecutorPreference(Reactor.shared.taskExecutor) { try await group.run() }
            }
        }
    }

    /// Refuses to start where it couldn't work, or could do more than it should.
    ///
    /// - Returns: what no longer protects customers with records from deletion, and the nodes of a distributed database.
    private func check(_ settings: Settings) async throws -> ([Finding], [Node]) {
        let deadline = ContinuousClock.now + .seconds(10)
        let service = ConnectionSettings(conninfo: settings.serviceConninfo)
        return try await CommandRunner.connected(service, deadline: deadline) { connection in
            try await ServeGuard.check(connection, allowOwner: settings.allowOwner, deadline: deadline)
            let nodes = try await Homes.nodes(connection, deadline: deadline)
            do throws(DatabaseError) {
                return (try await Protection(connection: connection, deadline: deadline).findings(), nodes)
            } catch {
                guard case .server(let error) = error else { throw error }
                let message = "The foreign keys on customers couldn't be checked: \(error.message)."
                return ([Finding("references", .warning, message)], nodes)
            }
        }
    }
}

/// SIGTERM and SIGINT at every moment of a start: until there is something to finish they end the process at once, then
/// they stop the services gracefully.
actor StopSignals {
    private var group: ServiceGroup?

    /// For the first milliseconds, before any command runs. Without a handler, process 1 of a container never gets these
    /// signals.
    ///
    /// Source: pid_namespaces(7), kill(2).
    static func installEarly() {
        let isServing = CommandLine.arguments.dropFirst().first == "serve"
        // What a shell in the background has switched off stays off, unless nothing else could end this process.
        for number in getpid() == 1 ? [SIGTERM, SIGINT] : [SIGTERM] {
            if isServing { signal(number) { _ in _exit(0) } } else { signal(number) { number in _exit(128 + number) } }
        }
    }

    /// Takes the signals over.
    static func trap() async -> StopSignals {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        let stop = StopSignals()
        Task {
            for await _ in signals { await stop.request() }
        }
        return stop
    }

    /// From here on a signal stops the group, even one that comes before the group runs.
    func handOver(to group: ServiceGroup) {
        self.group = group
    }

    private func request() async {
        guard let group else { _exit(0) }
        await group.triggerGracefulShutdown()
    }
}
