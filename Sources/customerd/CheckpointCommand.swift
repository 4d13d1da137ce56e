import ArgumentParser
import AuditTrail
import LibPQ
import NIOSSL

extension Audit {
    struct SignCheckpoint: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "checkpoint",
            abstract: "Sign the length and the Merkle root of each chain, to be kept outside the database.",
            discussion: """
                It verifies the trail first, and signs nothing if a chain is broken (exit 1). The file of --out is \
                replaced if the trail still agrees with the checkpoints in it.

                With --incremental it trusts what the checkpoints in --out cover, which this key must have signed, \
                and verifies only newer entries. Changes to older entries are found only by a whole verification, so \
                run `audit verify --checkpoint` as well, for example every night.

                Each checkpoint is kept in audit.checkpoints too, where proofs and certificates are made from it. \
                With --witness, witnesses are asked for cosignatures first; nothing is signed that one of them refuses. \
                Cosignatures of an unchanged tree stay.
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
        @Option(
            help: ArgumentHelp(
                "Ask this witness for a cosignature (C2SP tlog-witness); may be given again.", valueName: "url"
            )
        )
        var witness: [String] = []
        @Option(
            help: ArgumentHelp(
                """
                Take only cosignatures of this witness: its public key, or a file with it; may be given again.
                """,
                valueName: "key"
            )
        )
        var witnessKey: [String] = []
        @Option(
            help: ArgumentHelp(
                "Trust these authorities in PEM for witnesses with https, instead of the system's.", valueName: "file"
            )
        )
        var witnessCa: String?
        @Flag(help: "Verify only the entries after the checkpoints in --out.")
        var incremental = false
        @OptionGroup var chain: ChainOption
        @OptionGroup var output: OutputOptions

        func validate() throws {
            try checkName(name)
            guard out != nil || !incremental else {
                throw ValidationError("--incremental needs --out, the file with the checkpoints to continue from.")
            }
            for url in witness where WitnessAddress(url) == nil {
                throw ValidationError("--witness must be a URL with http or https, not \"\(url)\".")
            }
            guard !witness.isEmpty || witnessKey.isEmpty && witnessCa == nil else {
                throw ValidationError("--witness-key and --witness-ca need --witness.")
            }
        }

        func run() async throws {
            let signer = try KeyFile.signer(key, pemName: name)
            let witnesses = try Witnesses(urls: witness, keys: witnessKey, authorities: witnessCa)
            let previous = try readPrevious(signedBy: incremental ? signer.verifier : nil)
            let heads = previous.map(\.head).filter { $0.size > 0 }
            try await CommandRunner.connected(as: "audit checkpoint") { _, connection in
                let sign = CheckpointSigner(connection: connection, signer: signer)
                let (verdict, signed) = try await sign(
                    app: chain.app, previous: heads, incremental: incremental, deadline: Audit.deadline
                )
                for doubt in verdict.doubts + verdict.remarks {
                    StandardError.print("It is passed over: \(doubt.sentence).")
                }
                guard verdict.broken == nil else { throw NegativeAnswer("Nothing was signed. \(verdict.text())") }
                guard !signed.isEmpty else { throw NegativeAnswer("Nothing was signed: there are no entries.") }
                let (cosigned, missing) = try await witnesses.cosign(signed, connection)
                let checkpoints = try await sign.keepingCosignatures(
                    cosigned, of: previous, witnesses: witnesses.keys, deadline: Audit.deadline)
                try await keep(checkpoints, sign)
                try publish(checkpoints, missing)
                for reason in missing { StandardError.print("A cosignature is missing: \(reason).") }
                if !missing.isEmpty { throw ExitCode.failure }
            }
        }

        /// A standby can be verified and signed, but keeps nothing.
        private func keep(_ checkpoints: [Checkpoint], _ sign: CheckpointSigner) async throws {
            do throws(DatabaseError) {
                for replaced in try await sign.keep(checkpoints, deadline: Audit.deadline) {
                    StandardError.print(replaced)
                }
            } catch {
                guard error.sqlstate == "25006" else { throw error }
                StandardError.print(
                    "The checkpoints weren't kept in audit.checkpoints: this database is read-only.")
            }
        }

        private func readPrevious(signedBy verifier: NoteVerifier?) throws -> [Checkpoint] {
            guard let out, FileManager.default.fileExists(atPath: out) else { return [] }
            let contents = try TextFile.read(out)
            guard !contents.isEmpty else { return [] }
            let previous = Checkpoints(contents, app: nil, trusting: CheckpointTrust(verifier))
            if let fault = previous.fault {
                throw FileError(path: out, problem: "isn't overwritten: \(fault.reason)")
            }
            if let app = chain.app, previous.trusted.contains(where: { $0.head.appID != app.text }) {
                throw FileError(path: out, problem: "isn't overwritten: it holds checkpoints of other apps")
            }
            return previous.trusted
        }

        private func publish(_ checkpoints: [Checkpoint], _ missing: [String]) throws {
            let notes = checkpoints.map(\.text).joined(separator: "\n")
            if let out { try TextFile.write(notes, to: out) }
            let summary = out.map { "Signed the roots of \(checkpoints.count.counted("chain", "chains")): \($0)" }
            output.print(
                [
                    "checkpoints": .array(checkpoints.map(\.json)),
                    "missing_cosignatures": .array(missing.map { .string($0) }),
                ], else: summary ?? String(notes.dropLast())
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

/// The witnesses that a command asks.
private struct Witnesses {
    private let addresses: [WitnessAddress]
    let keys: [WitnessKey]
    private let tls: TLSConfiguration

    /// - Parameters:
    ///   - urls: of the witnesses.
    ///   - keys: those whose cosignatures count, or files with them; none to take any.
    ///   - authorities: a file with those that vouch for a witness with `https`; nil for the system's.
    init(urls: [String], keys: [String], authorities: String?) throws {
        addresses = urls.compactMap(WitnessAddress.init)
        self.keys = try keys.map { try KeyFile.witness($0) }
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let authorities {
            let pem = try TextFile.read(authorities)
            guard let certificates = try? NIOSSLCertificate.fromPEMBytes(Array(pem.utf8)), !certificates.isEmpty else {
                throw FileError(path: authorities, problem: "holds no certificate in PEM form")
            }
            tls.trustRoots = .certificates(certificates)
        }
        self.tls = tls
    }

    /// - Returns: the checkpoints with the cosignatures of all witnesses that answered, and which ones didn't.
    func cosign(
        _ checkpoints: [Checkpoint], _ connection: Connection
    ) async throws -> (checkpoints: [Checkpoint], missing: [String]) {
        let ask = WitnessRequest(connection: connection, keys: keys, deadline: Audit.deadline)
        var cosigned: [Checkpoint] = []
        var missing: [String] = []
        for var checkpoint in checkpoints {
            for address in addresses {
                switch try await ask(checkpoint, { try await address.addCheckpoint($0, tls) }) {
                case .cosigned(let witnessed): checkpoint = witnessed
                case .refused(let reason):
                    throw NegativeAnswer("Nothing was signed: the witness \(address) refuses, \(reason).")
                case .unavailable(let reason): missing.append("the witness \(address) \(reason)")
                }
            }
            cosigned.append(checkpoint)
        }
        return (cosigned, missing)
    }
}

extension Checkpoint {
    fileprivate var json: JSON {
        [
            "app_id": .string(head.appID), "size": .int(head.size),
            "root": .string(Data(head.root).base64EncodedString()), "note": .string(text),
        ]
    }
}
