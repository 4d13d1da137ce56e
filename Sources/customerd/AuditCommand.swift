import ArgumentParser
import Customers
import Foundation

/// `customerd audit …`: what auditors need.
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Prove the audit trail.",
        subcommands: [Verify.self]
    )
}

extension Audit {
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Recompute every hash of the trail; exit 1 where a chain is broken.",
            discussion: "The auditor's role may do it, too."
        )

        @Option(
            help: "Only the chain of this app, a UUID; the zero UUID for attempts that never authenticated.",
            transform: parseChain
        )
        var app: UUID?
        @OptionGroup var output: OutputOptions

        func run() async throws {
            try await CommandRunner.connected(as: "audit verify") { _, connection in
                let verify = ChainVerifier(connection: connection)
                let verdict = try await verify(app: app, deadline: .now + .seconds(86_400))
                output.print(verdict.json, else: verdict.text)
                if verdict.broken != nil { throw ExitCode.failure }
            }
        }
    }
}

/// Reads the UUID of a chain.
@Sendable
private func parseChain(_ text: String) throws -> UUID {
    guard let app = UUID(strict: text) else { throw ValidationError("--app must be a UUID, not \"\(text)\".") }
    return app
}

extension ChainVerdict {
    fileprivate var json: JSON {
        [
            "entries": .int(entries), "verified": .int(verified), "broken_at": .int(broken?.seq),
            "broken_app": .string(broken?.appID.text), "reason": .string(broken?.reason),
        ]
    }

    fileprivate var text: String {
        guard let broken else { return "The trail is whole: \(entries) entries in \(chains) chains." }
        return """
            The trail is BROKEN at entry \(broken.seq) of the chain of app \(broken.appID.text): \(broken.reason).
            \(verified) of \(entries) entries are proven.
            """
    }
}
