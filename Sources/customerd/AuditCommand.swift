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
                a file that `audit checkpoint` wrote and that was kept outside the database. The checkpoints that are \
                stored in the database are looked at as well; --public-key tells which of them are this log's.

                --from OLD --to NEW verifies only that newer checkpoints continue older ones. It reads a few hundred \
                rows of each chain. --certificate verifies a certificate, without a database.
                """
        )

        @OptionGroup var chain: ChainOption
        @Option(help: ArgumentHelp("Check the chains against the checkpoints in this file.", valueName: "file"))
        var checkpoint: String?
        @Option(
            help: ArgumentHelp(
                """
                Trust only checkpoints signed with this key, those in the database too: a verifier key, or a file with \
                one or with a PEM key.
                """,
                valueName: "key"
            )
        )
        var publicKey: String?
        @Option(
            help: ArgumentHelp(
                """
                Trust only checkpoints that this witness has cosigned: its public key, or a file with it. May be given \
                again; then all of them must have cosigned. Of those in the database, that is the newest of each chain. A \
                chain without any such checkpoint isn't confirmed: exit 1.
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
            guard publicKey == nil && witnessKey.isEmpty || export == nil || checkpoint != nil else {
                throw ValidationError(
                    "An export holds no checkpoints: --public-key and --witness-key need --checkpoint.")
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
                let (verdict, summary) = try verdict(certificate, verifier, witnesses)
                return try report(verdict, summary)
            }
            let trust = CheckpointTrust(verifier, witnesses: witnesses)
            func checkpoints(_ path: String) throws -> Checkpoints {
                Checkpoints(try TextFile.read(path), app: chain.app, trusting: trust)
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
            let verdict = try await verdict(signed?.heads ?? [], trust)
            try report((signed.map { verdict.weighing($0) } ?? verdict).wanting(trust), signed)
        }

        private func verdict(_ checkpoints: [TreeHead], _ trust: CheckpointTrust) async throws -> ChainVerdict {
            if let export {
                var verify = ExportVerifier(app: chain.app, checkpoints: checkpoints)
                try TextFile.lines(export) { verify.take(line: $0) }
                return verify.finish()
            }
            return try await CommandRunner.connected(as: "audit verify") { _, connection in
                let verify = ChainVerifier(connection: connection)
                return try await verify(
                    app: chain.app, checkpoints: checkpoints, trusting: trust, deadline: Audit.deadline)
            }
        }

        private func verdict(
            _ path: String, _ verifier: NoteVerifier, _ witnesses: [WitnessKey]
        ) throws(FileError) -> (ChainVerdict, Certificate.Summary?) {
            let text = try TextFile.read(path)
            do {
                let certificate = try Certificate(text)
                let verdict = certificate.verdict(verifier, witnesses: witnesses)
                return (verdict, verdict.fault == nil ? certificate.summary : nil)
            } catch {
                return (.unreadableCertificate(error), nil)
            }
        }

        /// Says what a certificate is about if it is valid: of one that isn't, nothing that it says is proven.
        private func report(_ verdict: ChainVerdict, _ summary: Certificate.Summary?) throws {
            let sentence = verdict.broken.map { "The certificate is NOT valid: \(TextRule.visible($0.reason))." }
            output.print(
                verdict.json(adding: summary.map { ["certificate": $0.json] } ?? [:]),
                else: sentence ?? summary?.text ?? "")
            if verdict.fault != nil { throw ExitCode.failure }
        }

        private func report(_ verdict: ChainVerdict, _ checkpoints: Checkpoints? = nil) throws {
            output.print(verdict.json(), else: text(of: verdict, checkpoints))
            if let checkpoints, !checkpoints.isProven, output.json {
                StandardError.print("The signature of the checkpoint wasn't verified: no --public-key was given.")
            }
            if output.json, let note = verdict.partNote { StandardError.print(note) }
            if output.json { verdict.remarkNotes.forEach { StandardError.print($0) } }
            if output.json, let note = note(of: verdict) { StandardError.print(note) }
            if verdict.fault != nil { throw ExitCode.failure }
        }

        private func text(of verdict: ChainVerdict, _ checkpoints: Checkpoints?) -> String {
            if from != nil {
                return verdict.fault.map {
                    "It isn't shown that the newer checkpoints continue the older ones: \($0.sentence)."
                }
                    ?? """
                    The newer checkpoints continue the older ones: \(verdict.chains.counted("chain", "chains")), \
                    \(verdict.entries.counted("entry", "entries")).
                    """
            }
            return verdict.text(checkpoints, note(of: verdict))
        }

        /// Which chains weren't compared with a checkpoint, of the file or of those that the key signed.
        private func note(of verdict: ChainVerdict) -> String? {
            guard from == nil else { return nil }
            if checkpoint != nil { return verdict.missedNote }
            return publicKey == nil ? nil : verdict.unsignedNote
        }
    }
}

extension ChainVerdict {
    /// - Parameter others: members that follow.
    func json(adding others: KeyValuePairs<String, JSON> = [:]) -> JSON {
        let own: KeyValuePairs<String, JSON> = [
            "entries": .int(entries), "verified": .int(verified), "broken_at": .int(fault?.seq),
            "broken_app": .string(fault?.appID), "reason": .string(fault?.reason),
        ]
        return .object((Array(own) + Array(others)).map { .init(name: $0.key, value: $0.value) })
    }

    /// - Parameter missed: which chains weren't compared with a checkpoint.
    func text(_ checkpoints: Checkpoints? = nil, _ missed: String? = nil) -> String {
        guard let broken else {
            let counted = "\(entries.counted("entry", "entries")) in \(chains.counted("chain", "chains"))"
            let notes = [partNote, checkpoints.map(note), missed].compactMap(\.self)
            let faults = doubts.map { "This doesn't hold: \($0.sentence)." }
            let start = doubts.isEmpty ? "The trail is whole" : "The trail by itself is whole"
            return (["\(start): \(counted)."] + notes + remarkNotes + faults).joined(separator: "\n")
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

    /// What is wrong beside it and doesn't matter.
    var remarkNotes: [String] { remarks.map { "It is passed over: \($0.sentence)." } }

    /// Which chains the given checkpoints say nothing about.
    var missedNote: String? {
        guard !unconfirmed.isEmpty else { return nil }
        return "Not compared with a checkpoint: \(unconfirmed.count.counted("chain", "chains"))."
    }

    /// Which chains no stored checkpoint says anything about, once the key is known that must have signed it.
    var unsignedNote: String? {
        guard !unsigned.isEmpty else { return nil }
        let more = unsigned.count > 3 ? " and others" : ""
        return """
            Not compared with a checkpoint that this key signed: \(unsigned.count.counted("chain", "chains")) (app \
            \(unsigned.prefix(3).joined(separator: ", "))\(more)). If one was signed, its rows are gone: compare with a copy \
            (--checkpoint).
            """
    }

    private func note(_ checkpoints: Checkpoints) -> String {
        let heads = "Checkpoints that it agrees with: \(agreements)"
        return checkpoints.isProven
            ? "\(heads), signed with the given key."
            : "\(heads). Their signatures weren't verified: no --public-key was given."
    }
}

extension Certificate.Summary {
    /// What is proven.
    var text: String {
        let about = customer.map { " of customer \($0)" } ?? ""
        return """
            The certificate is valid: its entry stands in the chain that was signed.
            It proves \(TextRule.visible("\(action) \(outcome)\(about)")): entry \(TextRule.visible(entry)), number \(seq) of the chain \
            of app \(app).
            The checkpoint covers \(size.counted("entry", "entries")) and is signed by \(TextRule.visible(signer)).
            """
    }
}

extension ChainVerdict.Break {
    /// What is wrong, and which chain it is about; without the period.
    var sentence: String {
        TextRule.visible(reason) + (appID.map { " (the chain of app \($0))" } ?? "")
    }
}
