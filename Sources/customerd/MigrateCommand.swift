import AuditTrail
import Administration
import ArgumentParser
import Customers

/// `customerd migrate`: brings the database to the schema of this binary.
struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Create the roles and bring the database to the schema of this customerd.",
        discussion: """
            Runs as a superuser, or as the owner of the database with CREATEROLE. Any number may run at once; a second \
            run changes nothing. A schema that is newer than this customerd stays as it is.
            """
    )

    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await CommandRunner.connected(as: "migrate") { settings, connection in
            let migrate = Migrator(connection: connection, roles: settings.roles)
            let report = try await migrate(deadline: .now + .seconds(600))
            output.print(
                ["applied": .array(report.applied.map { .string($0.name) }), "version": .int(report.version)],
                else: sentence(report)
            )
        }
    }

    private func sentence(_ report: Migrator.Report) -> String {
        if report.isNewer {
            return """
                The schema has version \(report.version), newer than this customerd, which knows versions up to \
                \(Schema.current.version): nothing was changed.
                """
        }
        guard !report.applied.isEmpty else { return "Nothing to do: the schema has version \(report.version)." }
        let names = report.applied.map(\.name).joined(separator: ", ")
        return "Applied \(names): the schema has version \(report.version)."
    }
}
