import ArgumentParser
import AuditTrail
import LibPQ

extension Audit {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write the trail to standard output, one JSON object a line, for verification elsewhere.",
            discussion: """
                `audit verify --export` verifies it, as does scripts/verify-audit.py, which needs only Python.

                With --tiles it writes the Merkle trees up to their newest checkpoints instead, as static files in the \
                form of C2SP tlog-tiles: hashes alone, nothing personal. Exit 1 if nothing was signed yet.
                """
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

        @Option(
            help: ArgumentHelp(
                "Write the Merkle trees to DIR/<app>/…, or to DIR itself with --app.", valueName: "dir")
        )
        var tiles: String?

        func validate() throws {
            guard tiles == nil || from == nil && to == nil else {
                throw ValidationError("--tiles writes whole trees; --from and --to don't go with it.")
            }
        }

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
                if let tiles { return try await write(tiles, connection) }
                let export = ChainExport(connection: connection)
                try await export(app: chain.app, from: from, to: to, deadline: Audit.deadline) { bytes in
                    try StandardOutput.write(bytes)
                }
            }
        }

        private func write(_ tiles: String, _ connection: Connection) async throws {
            let export = TileExport(connection: connection, deadline: Audit.deadline)
            var written = 0
            for app in try await export.chains(chain.app) {
                let directory = chain.app == nil ? "\(tiles)/\(app)" : tiles
                let published = try published("\(directory)/checkpoint", app)
                let outcome = try await export(of: app, continuing: published) { path, bytes in
                    try TextFile.write(bytes, to: "\(directory)/\(path)")
                }
                switch outcome {
                case .written(let size):
                    written += 1
                    StandardError.print("The tree of \(size.counted("entry", "entries")) of app \(app): \(directory)")
                case .noCheckpoint:
                    StandardError.print("Nothing of the chain of app \(app) was signed yet.")
                case .broken(let reason):
                    throw NegativeAnswer("The chain of app \(app) is BROKEN: \(reason).")
                }
            }
            if written == 0 { throw NegativeAnswer("Nothing was written: there is no checkpoint.") }
        }

        /// The tree that a checkpoint in a file is of; nil if there is no such file.
        private func published(_ path: String, _ app: String) throws(FileError) -> TreeHead? {
            guard FileManager.default.fileExists(atPath: path) else { return nil }
            let checkpoints = Checkpoints(try TextFile.read(path), app: nil, verifier: nil)
            guard checkpoints.fault == nil, checkpoints.heads.count == 1, checkpoints.heads[0].appID == app else {
                throw FileError(path: path, problem: "isn't overwritten: it isn't the checkpoint of app \(app)")
            }
            return checkpoints.heads[0]
        }
    }
}
