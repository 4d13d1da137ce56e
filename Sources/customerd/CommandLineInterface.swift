import ArgumentParser
import Customers

/// The command line. Exit codes: 0 success, 1 a negative answer, 2 bad usage or settings, 3 no database, no service, or no answer from it.
@main
struct CommandLineInterface: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "customerd",
        abstract: "Deletes customers and proves it: the service and its commands.",
        discussion: "Settings come from the environment; .env.example lists them all.",
        subcommands: [
            Serve.self, Health.self, Migrate.self, Seed.self, Keys.self, Audit.self, Reapply.self, Diagnose.self,
        ]
    )

    static func main() async {
        StopSignals.installEarly()
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            Termination(error).exit()
        }
    }
}
