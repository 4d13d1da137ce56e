import ArgumentParser
import AuditTrail

extension Audit {
    struct IssueCertificate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "certificate",
            abstract: "Write the certificate of one entry, verifiable offline.",
            discussion: """
                It proves what was done, when and by whom, against the newest checkpoint that covers the entry; exit 1 \
                if there is none yet. Nothing personal is in it unless --disclose says so.
                """
        )

        @Option(help: "The id of the entry.", transform: Self.entry)
        var entry: UUID
        @Option(
            help: ArgumentHelp(
                "Show these parts, too: subject (before-image, reason, message), context (address, agent, request).",
                valueName: "subject,context"
            ),
            transform: Self.parts
        )
        var disclose: Set<Certificate.Part> = []
        @Option(help: ArgumentHelp("The file to write; - for standard output.", valueName: "file"))
        var out: String
        @Flag(help: "Write a page that shows the certificate and verifies it in any browser, instead of JSON.")
        var html = false
        @OptionGroup var output: OutputOptions

        @Sendable
        private static func entry(_ text: String) throws -> UUID {
            guard let id = UUID(strict: text) else { throw ValidationError("--entry must be a UUID, not \"\(text)\".") }
            return id
        }

        @Sendable
        private static func parts(_ text: String) throws -> Set<Certificate.Part> {
            guard let parts = Certificate.Part.set(text) else {
                throw ValidationError("--disclose takes subject, context or both, separated by a comma.")
            }
            return parts
        }

        func run() async throws {
            let found = try await CommandRunner.connected(as: "audit certificate") { _, connection in
                let proofs = EntryProofs(connection: connection, deadline: Audit.deadline)
                return try await proofs.certificate(of: entry, app: nil, disclosing: disclose)
            }
            switch found {
            case .noEntry: throw NegativeAnswer("There is no entry \(entry.text).")
            case .noCheckpoint:
                throw NegativeAnswer("No checkpoint covers the entry yet; run `customerd audit checkpoint`.")
            case .broken(let reason): throw NegativeAnswer("Nothing was certified: \(reason).")
            case .found((let certificate, let publicKey)):
                let text = html ? certificate.page(publicKey: publicKey) : certificate.json.text + "\n"
                if out == "-" { return try StandardOutput.write(Array(text.utf8)) }
                try TextFile.write(text, to: out)
                output.print(
                    ["certificate": .string(out), "entry": .string(entry.text)],
                    else: "Wrote the certificate of entry \(entry.text): \(out)")
            }
        }
    }
}
