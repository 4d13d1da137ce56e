import ArgumentParser
import AuditTrail
import Customers

/// `customerd audit …`: the commands for auditors.
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Verify, export and sign the audit trail.",
        discussion: "The auditor's role may do all of it. docs/audit-chain.md says what is proven, and how.",
        subcommands: [Verify.self, Export.self, SignCheckpoint.self, GenerateKey.self]
    )

    /// A day: long enough for a trail of any size.
    static var deadline: ContinuousClock.Instant { .now + .seconds(86_400) }
}

/// The chain that a command is limited to.
struct ChainOption: ParsableArguments {
    @Option(
        help: "Only the chain of this app, a UUID; the zero UUID for unauthenticated attempts.",
        transform: Self.parse
    )
    var app: UUID?

    @Sendable
    private static func parse(_ text: String) throws -> UUID {
        guard let app = UUID(strict: text) else { throw ValidationError("--app must be a UUID, not \"\(text)\".") }
        return app
    }
}

extension Audit {
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Recompute every hash of the trail; exit 1 if a chain is broken.",
            discussion: """
                A trail that was rewritten together with its heads shows only against a checkpoint: --checkpoint names \
                a file that `audit checkpoint` wrote and that was kept outside the database.
                """
        )

        @OptionGroup var chain: ChainOption
        @Option(help: ArgumentHelp("Check the chains against the checkpoints in this file.", valueName: "file"))
        var checkpoint: String?
        @Option(
            help: ArgumentHelp(
                "Trust only checkpoints signed with this key: a verifier key, or a file with one or with a PEM key.",
                valueName: "key"
            )
        )
        var publicKey: String?
        @Option(
            help: ArgumentHelp(
                "Verify this file of `audit export` instead of the database; - for standard input.", valueName: "file"
            )
        )
        var export: String?
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard publicKey == nil || checkpoint != nil else {
                throw ValidationError("--public-key needs --checkpoint, whose signatures it verifies.")
            }
        }

        func run() async throws {
            let checkpoints = try readCheckpoints()
            let verdict = try await verdict(checkpoints?.heads ?? [])
            try report(checkpoints.map { verdict.weighing($0) } ?? verdict, checkpoints)
        }

        private func readCheckpoints() throws -> Checkpoints? {
            let verifier = try publicKey.map { try KeyFile.verifier($0) }
            return try checkpoint.map { path in
                Checkpoints(try TextFile.read(path), app: chain.app, verifier: verifier)
            }
        }

        private func verdict(_ checkpoints: [ChainHead]) async throws -> ChainVerdict {
            if let export {
                var verify = ExportVerifier(app: chain.app, checkpoints: checkpoints)
                try TextFile.lines(export) { verify.take(line: $0) }
                return verify.finish()
            }
            return try await CommandRunner.connected(as: "audit verify") { _, connection in
                let verify = ChainVerifier(connection: connection)
                return try await verify(app: chain.app, checkpoints: checkpoints, deadline: Audit.deadline)
            }
        }

        private func report(_ verdict: ChainVerdict, _ checkpoints: Checkpoints?) throws {
            output.print(verdict.json, else: verdict.text(checkpoints))
            if let checkpoints, !checkpoints.isProven, output.json {
                StandardError.print("The signature of the checkpoint wasn't verified: no --public-key was given.")
            }
            if output.json, let note = verdict.partNote { StandardError.print(note) }
            if verdict.broken != nil { throw ExitCode.failure }
        }
    }
}

extension ChainVerdict {
    var json: JSON {
        [
            "entries": .int(entries), "verified": .int(verified), "broken_at": .int(broken?.seq),
            "broken_app": .string(broken?.appID), "reason": .string(broken?.reason),
        ]
    }

    func text(_ checkpoints: Checkpoints? = nil) -> String {
        guard let broken else {
            let counted = "\(entries.counted("entry", "entries")) in \(chains.counted("chain", "chains"))"
            return "The trail is whole: \(counted).\(partNote.map { "\n\($0)" } ?? "")\(note(checkpoints))"
        }
        let place = [broken.seq.map { " at entry \($0)" }, broken.appID.map { " of the chain of app \($0)" }]
        return """
            The trail is BROKEN\(place.compactMap { $0 }.joined()): \(TextRule.visible(broken.reason)).
            \(verified) of \(entries) entries are proven.
            """
    }

    /// What isn't proven, because the export has only a part of it.
    var partNote: String? {
        guard parts > 0 else { return nil }
        return "\(parts.counted("chain is", "chains are")) exported in part: the rest wasn't verified."
    }

    private func note(_ checkpoints: Checkpoints?) -> String {
        guard let checkpoints else { return "" }
        let heads = "Checkpoints that it agrees with: \(checkpoints.heads.count)"
        return checkpoints.isProven
            ? "\n\(heads), signed with the given key."
            : "\n\(heads). Their signatures weren't verified: no --public-key was given."
    }
}
