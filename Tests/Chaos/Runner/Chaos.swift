import ArgumentParser
import ChaosJudge
import Foundation

/// Random clients and random faults against two instances of the service; then the whole history is judged.
///
/// Exit codes: 0 when it is as it should be, 1 when it isn't, 2 for bad usage.
@main
struct Chaos: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chaos", abstract: "Judge what the service does while everything around it fails.")

    @Option(help: "Decides what clients ask for and what goes wrong when.")
    var seed: UInt64 = 1

    @Option(help: "How long clients go on.")
    var seconds = 20

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
        let run = Run(seed: seed, seconds: seconds, clients: clients)
        let outcome = try await run()
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
