import ArgumentParser
import ChaosJudge
import Foundation
import TestSupport

/// Random clients and random faults against two instances of the service; then the whole history is judged.
///
/// Exit codes: 0 when it is as it should be, 1 when it isn't, 2 for bad usage.
@main
struct Chaos: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos", abstract: "Judge what the service does while everything around it fails.")

    @Option(help: "Decides what clients ask for and what goes wrong when.")
    var seed: UInt64 = 1

    @Option(help: "How long clients go on; with --server, until the end of standard input.")
    var seconds = 20

    @Option(
        help: """
            A server outside, as the URL of a superuser and the database postgres. Whoever runs this breaks it, and tells of \
            it on standard input: "began NAME" and "over NAME", a line each.
            """)
    var server: String?

    @Option(help: "How many clients there are.")
    var clients = 8

    @Flag(help: "Print what the instances logged, too.")
    var log = false

    @Flag(help: "Print every call with its entry, too.")
    var history = false

    func validate() throws {
        guard (1...86_400).contains(seconds) else { throw ValidationError("--seconds takes 1 to 86400") }
        guard (1...100).contains(clients) else { throw ValidationError("--clients takes 1 to 100") }
    }

    func run() async throws {
        let place: Run.Place = server.map { .outside(server: $0) } ?? .inside(seconds: seconds)
        let run = Run(seed: seed, clients: clients, place: place)
        let outcome = try await run { arena in
            // For whoever is to break what the clients use.
            guard server != nil else { return }
            print("database: \(arena.database.name)")
            print("instances: \(arena.instances.map { String($0.port) }.joined(separator: " "))")
            fflush(nil)
        }
        if log { print(outcome.log) }
        let report = Report(run: run, outcome: outcome)
        if history { print(report.history) }
        print(report.text)
        guard outcome.verdict.violations.isEmpty else { throw ExitCode(1) }
    }

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            let code = exitCode(for: error)
            guard code.isSuccess || code.rawValue == 1 else {
                FileHandle.standardError.write(Data("\(fullMessage(for: error))\n".utf8))
                Foundation.exit(2)
            }
            exit(withError: error)
        }
    }
}
