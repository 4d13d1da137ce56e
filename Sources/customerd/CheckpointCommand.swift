import ArgumentParser
import AuditTrail

extension Audit {
    struct SignCheckpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "checkpoint",
            abstract: "Sign the length and the head of each chain, to be kept outside the database.",
            discussion: """
                It verifies the trail first, and signs nothing if a chain is broken (exit 1). The file of --out is \
                replaced if the trail still agrees with the checkpoints in it.

                With --incremental it trusts what the checkpoints in --out cover, which this key must have signed, \
                and verifies only newer entries. Changes to older entries are found only by a whole verification, so \
                run `audit verify --checkpoint` as well, for example every night.
                """
        )

        @Option(
            help: ArgumentHelp(
                "The key file: as `audit keygen` writes it, or an Ed25519 key in PEM.", valueName: "file"
            )
        )
        var key: String
        @Option(help: "The name for a PEM key, which has none itself.")
        var name = "customerd"
        @Option(help: ArgumentHelp("Write to this file instead of standard output.", valueName: "file"))
        var out: String?
        @Flag(help: "Verify only the entries after the checkpoints in --out.")
        var incremental = false
        @OptionGroup var chain: ChainOption
        @OptionGroup var output: OutputOptions

        func validate() throws {
            try checkName(name)
            guard out != nil || !incremental else {
                throw ValidationError("--incremental needs --out, the file with the checkpoints to continue from.")
            }
        }

        func run() async throws {
            let signer = try KeyFile.signer(key, pemName: name)
            let previous = try readPrevious(signedBy: incremental ? signer.verifier : nil)
            try await CommandRunner.connected(as: "audit checkpoint") { _, connection in
                let sign = CheckpointSigner(connection: connection, signer: signer)
                let (verdict, checkpoints) = try await sign(
                    app: chain.app, previous: previous, incremental: incremental, deadline: Audit.deadline
                )
                guard verdict.broken == nil else {
                    StandardError.print("Nothing was signed. \(verdict.text())")
                    throw ExitCode.failure
                }
                guard !checkpoints.isEmpty else {
                    StandardError.print("Nothing was signed: there are no entries.")
                    throw ExitCode.failure
                }
                try publish(checkpoints)
            }
        }

        private func readPrevious(signedBy verifier: NoteVerifier?) throws -> [ChainHead] {
            guard let out, FileManager.default.fileExists(atPath: out) else { return [] }
            let contents = try TextFile.read(out)
            guard !contents.isEmpty else { return [] }
            let previous = Checkpoints(contents, app: nil, verifier: verifier)
            if let fault = previous.fault {
                throw FileError(path: out, problem: "isn't overwritten: \(fault.reason)")
            }
            if let app = chain.app, previous.heads.contains(where: { $0.appID != app.text }) {
                throw FileError(path: out, problem: "isn't overwritten: it holds checkpoints of other apps")
            }
            return previous.heads
        }

        private func publish(_ checkpoints: [Checkpoint]) throws {
            let notes = checkpoints.map(\.text).joined(separator: "\n")
            if let out { try TextFile.write(notes, to: out) }
            let summary = out.map { "Signed the heads of \(checkpoints.count.counted("chain", "chains")): \($0)" }
            output.print(
                ["checkpoints": .array(checkpoints.map(\.json))], else: summary ?? String(notes.dropLast())
            )
        }
    }

    struct GenerateKey: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "keygen",
            abstract: "Create a key that signs checkpoints, and print its public key, which verifies them.",
            discussion: "Keep the file where the administrators of the database can't read it."
        )

        @Option(help: "The name of the key: a URL of yours without its scheme, such as example.com/trail.")
        var name: String
        @Option(help: ArgumentHelp("The file to create, readable by its owner only.", valueName: "file"))
        var key: String
        @OptionGroup var output: OutputOptions

        func validate() throws {
            try checkName(name)
        }

        func run() throws {
            guard let signer = NoteSigner(generating: name), let publicKey = signer.verifier.text else {
                throw ValidationError("--name must have 1 to 200 characters, without spaces and plus signs.")
            }
            try KeyFile.make(key, signer)
            output.print(["name": .string(name), "public_key": .string(publicKey)], else: publicKey)
        }
    }
}

extension Checkpoint {
    fileprivate var json: JSON {
        [
            "app_id": .string(head.appID), "size": .int(head.seq),
            "hash": .string(Data(head.hash).base64EncodedString()), "note": .string(text),
        ]
    }
}
