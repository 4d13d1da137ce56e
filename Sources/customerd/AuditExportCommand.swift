import ArgumentParser
import AuditTrail

extension Audit {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the trail to standard output, one JSON object a line, to be verified elsewhere.",
            discussion: "`audit verify --export` verifies it, as does scripts/verify-audit.py, which needs only Python."
        )

        @OptionGroup var chain: ChainOption

        func run() async throws {
            try await CommandRunner.connected(as: "audit export") { _, connection in
                let export = ChainExport(connection: connection)
                try await export(app: chain.app, deadline: Audit.deadline) { try StandardOutput.write($0) }
            }
        }
    }
}
