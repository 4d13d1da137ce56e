import Foundation

/// One `customerd serve`, on a port of its own.
public final class RunningService: Sendable {
    public struct NotReady: Error, CustomStringConvertible {
        public var description: String
    }

    public let port: Int
    private let child: ChildProcess

    private init(port: Int, child: ChildProcess) {
        self.port = port
        self.child = child
    }

    /// Starts an instance and returns when it is ready.
    ///
    /// - Parameters:
    ///   - database: where it connects as the service's role.
    ///   - settings: environment variables in addition.
    ///   - port: the port; a free one when nil.
    public static func start(
        on database: TestDatabase, _ settings: [String: String] = [:], port: Int? = nil
    ) async throws -> RunningService {
        var failure = NotReady(description: "")
        // A port that was free may be taken by the time it is used.
        for _ in 1...5 {
            let service = try launch(on: database, settings, port: port ?? freePort())
            do {
                try await service.becomeReady()
                return service
            } catch {
                failure = NotReady(description: "\(error)\n\(service.log)")
                service.child.send(signal: SIGKILL)
                guard service.log.contains("ddress already in use") else { break }
            }
        }
        throw failure
    }

    private static func launch(
        on database: TestDatabase, _ settings: [String: String], port: Int
    ) throws -> RunningService {
        let environment = ["DATABASE_URL": database.url(user: "customerd_service"), "CUSTOMERD_PORT": String(port)]
        let child = try ChildProcess(
            [Customerd.path, "serve"], environment: Customerd.environment(environment.merging(settings) { $1 })
        )
        return RunningService(port: port, child: child)
    }

    private func becomeReady() async throws {
        try await eventually("the service became ready", within: .seconds(60)) {
            guard child.isRunning else { throw NeverHappened("the service kept running") }
            return try await isReady
        }
    }

    /// Whether `/health/ready` says so.
    public var isReady: Bool {
        get async throws {
            (try? await HTTPCall("GET", "/health/ready", fresh: true).send(to: port))?.status == 200
        }
    }

    /// Below the range from which the kernel gives ports to outgoing connections.
    public static func freePort() -> Int {
        while true {
            let port = Int.random(in: 20_000..<32_000)
            if (try? RawConnection(port: port)) == nil { return port }
        }
    }

    // MARK: - Its end

    public var isRunning: Bool { child.isRunning }

    /// Asks it to stop, by SIGTERM, without waiting.
    public func terminate() {
        child.send(signal: SIGTERM)
    }

    /// Asks it to stop, by SIGINT, without waiting.
    public func interrupt() {
        child.send(signal: SIGINT)
    }

    /// Ends it at once, by SIGKILL.
    public func kill() async {
        child.send(signal: SIGKILL)
        _ = await child.exitStatus
    }

    /// The exit status; nil when it still runs after the limit.
    public func exitStatus(within limit: Duration) async -> Int32? {
        await child.exitStatus(within: limit)
    }

    /// Everything that it has printed.
    public var log: String { child.output + child.errors }
}
