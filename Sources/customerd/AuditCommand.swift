import ArgumentParser
import AuditTrail
import Customers

/// `customerd audit …`: the commands for auditors.
struct Audit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Verify, export and sign the audit trail.",
        discussion: "The auditor's role may do all of it. docs/audit-chain.md says what is proven, and how.",
        subcommands: [
            Verify.self, Export.self, SignCheckpoint.self, IssueCertificate.self, GenerateKey.self, Witness.self,
        ]
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

                --from OLD --to NEW verifies only that newer checkpoints continue older ones. It reads a few hundred \
                rows of each chain. --certificate verifies a certificate, without a database.
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
                """
                Trust only checkpoints that this witness has cosigned: its public key, or a file with it. May be given \
                again; then all of them must have cosigned.
                """,
                valueName: "key"
            )
        )
        var witnessKey: [String] = []
        @Option(
            help: ArgumentHelp(
                "Verify this file of `audit export` instead of the database; - for standard input.", valueName: "file"
            )
        )
        var export: String?
        @Option(help: ArgumentHelp("With --to: the file with the older checkpoints.", valueName: "file"))
        var from: String?
        @Option(help: ArgumentHelp("With --from: the file with the newer checkpoints.", valueName: "file"))
        var to: String?
        @Option(help: ArgumentHelp("Verify this certificate; needs --public-key.", valueName: "file"))
        var certificate: String?
        @OptionGroup var output: OutputOptions

        func validate() throws {
            let isAboutCheckpoints = checkpoint != nil || from != nil || certificate != nil
            guard publicKey == nil && witnessKey.isEmpty || isAboutCheckpoints else {
                throw ValidationError(
                    "--public-key and --witness-key need --checkpoint, --from and --to, or --certificate.")
            }
            guard (from == nil) == (to == nil) else { throw ValidationError("--from and --to need each other.") }
            guard certificate == nil || publicKey != nil else {
                throw ValidationError("--certificate needs --public-key, the key that signs the checkpoints.")
            }
            guard certificate == nil || chain.app == nil else {
                throw ValidationError("--certificate names its app itself: leave out --app.")
            }
            let kinds = [checkpoint ?? export, from, certificate].filter { $0 != nil }.count
            guard kinds <= 1 else {
                throw ValidationError(
                    "Verify the trail, two checkpoints (--from, --to) or a certificate: one of the three.")
            }
        }

        func run() async throws {
            let verifier = try publicKey.map { try KeyFile.verifier($0) }
            let witnesses = try witnessKey.map { try KeyFile.witness($0) }
            if let certificate, let verifier {
                return try report(try verdict(certificate, verifier, witnesses))
            }
            func checkpoints(_ path: String) throws -> Checkpoints {
                Checkpoints(try TextFile.read(path), app: chain.app, verifier: verifier, witnesses: witnesses)
            }
            if let from, let to {
                let (old, new) = (try checkpoints(from), try checkpoints(to))
                let verdict = try await CommandRunner.connected(as: "audit verify") { _, connection in
                    let compare = CheckpointComparison(connection: connection)
                    return try await compare(from: old, to: new, deadline: Audit.deadline)
                }
                return try report(verdict, new)
            }
            let signed = try checkpoint.map(checkpoints)
            let verdict = try await verdict(signed?.heads ?? [])
            try report(signed.map { verdict.weighing($0) } ?? verdict, signed)
        }

        private func verdict(_ checkpoints: [TreeHead]) async throws -> ChainVerdict {
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

        private func verdict(
            _ path: String, _ verifier: NoteVerifier, _ witnesses: [WitnessKey]
        ) throws(FileError) -> ChainVerdict {
            let text = try TextFile.read(path)
            do {
                return try Certificate(text).verdict(verifier, witnesses: witnesses)
            } catch {
                return .unreadableCertificate(error)
            }
        }

        private func report(_ verdict: ChainVerdict, _ checkpoints: Checkpoints? = nil) throws {
            output.print(verdict.json, else: text(of: verdict, checkpoints))
            if let checkpoints, !checkpoints.isProven, output.json {
                StandardError.print("The signature of the checkpoint wasn't verified: no --public-key was given.")
            }
            if output.json, let note = verdict.partNote { StandardError.print(note) }
            if verdict.broken != nil { throw ExitCode.failure }
        }

        private func text(of verdict: ChainVerdict, _ checkpoints: Checkpoints?) -> String {
            if certificate != nil {
                return verdict.broken.map { "The certificate is NOT valid: \($0.reason)." }
                    ?? "The certificate is valid: its entry stands in the chain that was signed."
            }
            if from != nil, verdict.broken == nil {
                return """
                    The newer checkpoints continue the older ones: \(verdict.chains.counted("chain", "chains")), \
                    \(verdict.entries.counted("entry", "entries")).
                    """
            }
            return verdict.text(checkpoints)
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
