import AuditTrail
import Administration
import ArgumentParser
import Customers
import LibPQ

/// `customerd doctor`: does the database keep what the service promises?
struct Diagnose: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check that the database keeps what the service promises.",
        discussion: """
            It changes nothing. Exit 1 after a failure, 2 if the failures are missing privileges; warnings don't count.
            """
    )

    @OptionGroup var output: OutputOptions

    func run() async throws {
        do {
            try await CommandRunner.connected(as: "doctor") { settings, connection in
                let deadline = ContinuousClock.now + .seconds(60)
                let doctor = Doctor(
                    connection: connection, roles: settings.roles,
                    contextRetentionDays: settings.contextRetentionDays, deadline: deadline)
                let findings = try await doctor() + service(settings, deadline: deadline)
                report(findings)
                let failed = Set(findings.filter { $0.level == .failure }.map(\.check))
                if failed.isEmpty { return }
                throw failed.isSubset(of: ["privileges", "service"]) && failed.contains("privileges")
                    ? ExitCode.badUsage : ExitCode.failure
            }
        } catch let error as DatabaseError {
            guard output.json else { throw error }
            let termination = Termination(error)
            report([Finding("database", .failure, termination.message)])
            StandardError.print(termination.message)
            throw ExitCode(termination.code)
        }
    }

    /// Whether `serve` would start with its own connection, where that is another one.
    private func service(_ settings: Settings, deadline: ContinuousClock.Instant) async throws -> [Finding] {
        guard settings.serviceConninfo != settings.ownerConninfo else { return [] }
        // Where DATABASE_URL isn't set, the service may be meant to run with other variables than these.
        let trouble: Finding.Level = settings.serviceConninfo.isEmpty ? .warning : .failure
        do {
            let service = ConnectionSettings(conninfo: settings.serviceConninfo)
            try await CommandRunner.connected(service, deadline: deadline) { connection in
                try await ServeGuard.check(connection, allowOwner: settings.allowOwner, deadline: deadline)
            }
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

extension ExitCode {
    /// Bad usage or settings, a missing privilege too.
    static let badUsage = ExitCode(2)
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
        return "\(mark)\(check): \(TextRule.visible(message))"
    }
}
