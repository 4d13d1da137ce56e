import ArgumentParser
import Customers

/// `customerd migrate`: brings the database to the schema of this binary.
struct Migrate: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Make the roles and bring the database to the schema of this customerd.",
        discussion: """
            Runs as a superuser, or as the owner of the database with CREATEROLE. Any number may run at once; a second \
            run changes nothing.
            """
    )

    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await CommandRunner.connected(as: "migrate") { settings, connection in
            let migrate = Migrator(connection: connection, roles: settings.roles)
            let report = try await migrate(deadline: .now + .seconds(600))
            let names = report.applied.map(\.name)
            output.print(
                ["applied": .array(names.map { .string($0) }), "version": .int(report.version)],
                else: names.isEmpty
                    ? "Nothing to do: the schema is at version \(report.version)."
                    : "Applied \(names.joined(separator: ", ")): the schema is at version \(report.version)."
            )
        }
    }
}
