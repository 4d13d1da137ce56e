import ArgumentParser
import AuditTrail

extension Audit {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the trail to standard output, one JSON object a line, for verification elsewhere.",
            discussion: "`audit verify --export` verifies it, as does scripts/verify-audit.py, which needs only Python."
        )

        @OptionGroup var chain: ChainOption
        @Option(
            help: ArgumentHelp(
                "Begin with this entry: a seq, or a time by occurred_at such as 2026-01-31T09:30:00Z.",
                valueName: "time|seq"
            ),
            transform: { try parse($0, "--from") }
        )
        var from: ChainBound?
        @Option(
            help: ArgumentHelp("End with this entry, which is included.", valueName: "time|seq"),
            transform: { try parse($0, "--to") }
        )
        var to: ChainBound?

        @Sendable
        private static func parse(_ text: String, _ option: String) throws -> ChainBound {
            if let seq = Int(text), seq >= 1 { return .seq(seq) }
            guard let time = DateTime(text) else {
                throw ValidationError("\(option) must be a seq or an RFC 3339 date-time, not \"\(text)\".")
            }
            return .time(time)
        }

        func run() async throws {
            try await CommandRunner.connected(as: "audit export") { _, connection in
                let export = ChainExport(connection: connection)
                try await export(app: chain.app, from: from, to: to, deadline: Audit.deadline) { bytes in
                    try StandardOutput.write(bytes)
                }
            }
        }
    }
}
