import ArgumentParser
import Customers
import LibPQ

/// `customerd doctor`: is everything as it should be?
struct Diagnose: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look whether the database keeps what the service promises; exit 1 where it doesn't.",
        discussion: "It changes nothing. Warnings don't count."
    )

    @OptionGroup var output: OutputOptions

    func run() async throws {
        do {
            try await CommandRunner.connected(as: "doctor") { settings, connection in
                let deadline = ContinuousClock.now + .seconds(60)
                let doctor = Doctor(connection: connection, roles: settings.roles, deadline: deadline)
                let findings = try await doctor() + service(settings, deadline: deadline)
                report(findings)
                if findings.contains(where: { $0.level == .failure }) { throw ExitCode.failure }
            }
        } catch let error as DatabaseError {
            if output.json { report([Finding("database", .failure, Termination(error).message)]) }
            throw error
        }
    }

    /// Whether `serve` would start with its own connection, where that is another one.
    private func service(_ settings: Settings, deadline: ContinuousClock.Instant) async throws -> [Finding] {
        guard settings.serviceConninfo != settings.ownerConninfo else { return [] }
        // Where DATABASE_URL isn't set, the service may be meant to run with other variables than these.
        let trouble: Finding.Level = settings.serviceConninfo.isEmpty ? .warning : .failure
        do {
            let connection = try await Connection.connect(
                ConnectionSettings(conninfo: settings.serviceConninfo), deadline: deadline
            )
            defer { Task { await connection.close() } }
            try await ServeGuard.check(connection, allowOwner: settings.allowOwner, deadline: deadline)
            return [Finding("service", .ok, "serve can start with its own connection.")]
        } catch let error as ServeGuardError {
            return [Finding("service", trouble, "\(error)")]
        } catch {
            return [Finding("service", trouble, "serve couldn't start. \(Termination(error).message)")]
        }
    }

    private func report(_ findings: [Finding]) {
        let isHealthy = !findings.contains { $0.level == .failure }
        output.print(
            ["healthy": .bool(isHealthy), "checks": .array(findings.map(\.json))],
            else: findings.map(\.line).joined(separator: "\n")
        )
    }
}

extension Finding {
    fileprivate var json: JSON {
        ["check": .string(check), "status": .string(level.rawValue), "message": .string(message)]
    }

    fileprivate var line: String {
        let mark =
            switch level {
            case .ok: "ok       "
            case .warning: "warning  "
            case .failure: "FAILURE  "
            }
        return "\(mark)\(check): \(message)"
    }
}
