import Foundation
import NIOConcurrencyHelpers

/// One `customerd serve`, on a port of its own.
public final class RunningService: Sendable {
    public struct NotReady: Error, CustomStringConvertible {
        public var description: String
    }

    public let port: Int
    private let child: ChildProcess
    private let certificate: SelfSignedCertificate?
    private let killed = NIOLockedValueBox(false)

    private init(port: Int, child: ChildProcess, certificate: SelfSignedCertificate?) {
        self.port = port
        self.child = child
        self.certificate = certificate
    }

    var processID: Int32 { child.id }

    /// Starts an instance and returns when it is ready.
    ///
    /// - Parameters:
    ///   - database: where it connects as the service's role.
    ///   - settings: environment variables in addition.
    ///   - port: the port; a free one when nil.
    ///   - descriptors: its limits of open descriptors; ours when nil.
    ///   - certificate: what it serves TLS with; plain when nil.
    ///   - errors: where its log goes instead of ``log``.
    public static func start(
        on database: TestDatabase, _ settings: [String: String] = [:], port: Int? = nil,
        descriptors: (soft: Int, hard: Int)? = nil, trusting certificate: SelfSignedCertificate? = nil,
        errors: LogPipe? = nil
    ) async throws -> RunningService {
        var failure = NotReady(description: "")
        // A port that was free may be taken by the time it is used.
        for _ in 1...5 {
            let service = try launch(
                on: database, settings, port: port ?? freePort(), descriptors: descriptors, trusting: certificate,
                errors: errors)
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
        on database: TestDatabase, _ settings: [String: String], port: Int, descriptors: (soft: Int, hard: Int)?,
        trusting certificate: SelfSignedCertificate?, errors: LogPipe?
    ) throws -> RunningService {
        let environment = ["DATABASE_URL": database.url(user: "customerd_service"), "CUSTOMERD_PORT": String(port)]
        let limits = descriptors.map { "ulimit -Sn \($0.soft) && ulimit -Hn \($0.hard) && " } ?? ""
        let child = try ChildProcess(
            ["/bin/sh", "-c", limits + #"exec "$0" serve"# + (errors.map { " 2>'\($0.path)'" } ?? ""), Customerd.path],
            environment: Customerd.environment(environment.merging(settings) { $1 })
        )
        return RunningService(port: port, child: child, certificate: certificate)
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
            let call = HTTPCall("GET", "/health/ready", fresh: true)
            guard let certificate else { return (try? await call.send(to: port))?.status == 200 }
            return (try? await call.send(to: port, trusting: certificate))?.status == 200
        }
    }

    /// A port that nothing listens on, below the range from which the kernel gives ports to outgoing connections.
    ///
    /// Each is given once: a service that is stopped finds its port free when it starts again.
    public static func freePort() -> Int {
        while true {
            let port = Int.random(in: 20_000..<32_000)
            guard given.withLockedValue({ $0.insert(port).inserted }) else { continue }
            if (try? RawConnection(port: port)) == nil { return port }
        }
    }

    private static let given = NIOLockedValueBox(Set<Int>())

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
        killed.withLockedValue { $0 = true }
        child.send(signal: SIGKILL)
        _ = await child.exitStatus
    }

    /// Whether ``kill()`` has ended it.
    public var wasKilled: Bool { killed.withLockedValue { $0 } }

    /// Stops it where it is, until it is resumed.
    public func pause() {
        child.send(signal: SIGSTOP)
    }

    public func resume() {
        child.send(signal: SIGCONT)
    }

    /// The exit status; nil when it still runs after the limit.
    public func exitStatus(within limit: Duration) async -> Int32? {
        await child.exitStatus(within: limit)
    }

    /// Everything that it has printed.
    public var log: String { child.output + child.errors }
}
