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
            let apps = try await export.chains(chain.app)
            // Before anything is written.
            let trees = try TileDirectory.trees(in: tiles, of: apps, isOne: chain.app != nil)
            for (app, (directory, published)) in zip(apps, trees) {
                let outcome = try await export(of: app, continuing: published) { path, bytes in
                    try TextFile.write(bytes, to: "\(directory)/\(path)")
                }
                switch outcome {
                case .written(let size):
                    written += 1
                    StandardError.print("The tree of \(size.counted("entry", "entries")) of app \(app): \(directory)")
                case .noCheckpoint:
                    StandardError.print("Nothing of the chain of app \(app) was signed yet.")
                case .foreign(let reason): throw FileError(path: directory, problem: "isn't written to: \(reason)")
                case .broken(let reason):
                    throw NegativeAnswer("The chain of app \(app) is BROKEN: \(reason).")
                }
            }
            if written == 0 { throw NegativeAnswer("Nothing was written: there is no checkpoint.") }
        }
    }
}

/// The directory that trees are exported into: that of one tree, or of one for each app. It never holds both, nor what isn't
/// of these chains, since no reader could tell what belongs together.
private enum TileDirectory {
    /// Where each tree goes, and the checkpoint that is already there.
    ///
    /// - Parameter isOne: whether the directory is that of the only app itself.
    static func trees(
        in path: String, of apps: [String], isOne: Bool
    ) throws(FileError) -> [(directory: String, published: Checkpoint?)] {
        for name in names(in: path) {
            let isTree = name == "checkpoint" || name == "tile"
            if isTree, !isOne {
                throw refusal(path, "it is itself the tree of one app: use --app, or another directory")
            }
            guard let app = UUID(strict: name)?.text else { continue }
            if isOne {
                throw refusal(path, "it holds the trees of several apps: leave out --app, or use another directory")
            }
            if !apps.contains(app) { throw refusal(path, "it holds the tree of app \(app), which has no chain here") }
        }
        var trees: [(directory: String, published: Checkpoint?)] = []
        for app in apps {
            let directory = isOne ? path : "\(path)/\(app)"
            trees.append((directory, try published(in: directory, app)))
        }
        return trees
    }

    private static func published(in directory: String, _ app: String) throws(FileError) -> Checkpoint? {
        let path = "\(directory)/checkpoint"
        guard FileManager.default.fileExists(atPath: path) else {
            guard names(in: directory).contains("tile") else { return nil }
            throw refusal(
                directory,
                "it holds tiles without a checkpoint, of an export that was interrupted or of another log: remove them")
        }
        let checkpoints = Checkpoints(try TextFile.read(path), app: nil)
        guard checkpoints.fault == nil, checkpoints.trusted.count == 1, checkpoints.trusted[0].head.appID == app else {
            throw FileError(path: path, problem: "isn't overwritten: it isn't the checkpoint of app \(app)")
        }
        return checkpoints.trusted[0]
    }

    private static func names(in directory: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
    }

    private static func refusal(_ path: String, _ reason: String) -> FileError {
        FileError(path: path, problem: "isn't written to: \(reason)")
    }
}
