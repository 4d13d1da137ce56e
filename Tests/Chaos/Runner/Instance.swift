import Foundation
import TestSupport

/// One instance of the service, which may be ended and started again, always on the same port.
actor Instance {
    nonisolated let name: String
    nonisolated let port: Int
    private let database: TestDatabase
    private let settings: [String: String]
    private var service: RunningService?
    /// What it did that an instance must not do.
    private(set) var failures: [String] = []
    private var logs: [String] = []

    init(name: String, database: TestDatabase, settings: [String: String]) {
        self.name = name
        self.database = database
        self.settings = settings
        port = RunningService.freePort()
    }

    /// Starts it, again and again while the database is away.
    func start() async throws {
        let deadline = ContinuousClock.now + .seconds(90)
        while service == nil {
            service = try? await RunningService.start(on: database, settings, port: port)
            guard ContinuousClock.now < deadline else { throw NeverHappened("instance \(name) started") }
        }
    }

    /// Ends it at once.
    func kill() async {
        checkAlive()
        await service?.kill()
        keepLog()
    }

    /// Asks it to end, and waits until it has.
    func terminate() async {
        checkAlive()
        service?.terminate()
        switch await service?.exitStatus(within: .seconds(40)) {
        case 0: break
        case let status?: failures.append("instance \(name) ended with \(status) after SIGTERM: \(tail)")
        case nil:
            failures.append("instance \(name) still ran 40 s after SIGTERM: \(tail)")
            await service?.kill()
        }
        keepLog()
    }

    /// Everything that it logged, in all its lives.
    var log: String { logs.joined() + (service?.log ?? "") }

    private var tail: String { String((service?.log ?? "").suffix(1500)) }

    private func checkAlive() {
        guard let service, !service.isRunning else { return }
        failures.append("instance \(name) ended on its own: \(tail)")
    }

    private func keepLog() {
        logs.append(service?.log ?? "")
        service = nil
    }
}
