import Administration
import ArgumentParser
import AuditTrail
import Customers

/// `customerd reapply`: what a restore from an older backup has brought back, done away with again.
struct Reapply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reapply",
        abstract: "After a restore, do again the deletions, redactions, revocations and holds of a later export.",
        discussion: """
            The export is verified first. What is done again leaves entries whose request.reapplied_from is the id of the \
            original one. A second run does nothing. Exit 1 if something could not be done.
            """
    )

    @Option(help: ArgumentHelp("A file that `audit export` wrote after the backup was made.", valueName: "file"))
    var export: String
    @Flag(help: "Only say what would be done.")
    var dryRun = false
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var verifier = ExportVerifier(app: nil)
        var reapplication = Reapplication()
        try TextFile.lines(export) { line in
            verifier.take(line: line)
            if let entry = ExportedEntry(line: line) { reapplication.take(entry) }
        }
        if let broken = verifier.finish().broken { throw ReapplyError(reason: broken.reason) }
        let report = try await CommandRunner.connected(as: "reapply") { [reapplication] _, connection in
            try await reapplication.apply(connection, isDryRun: dryRun, deadline: Audit.deadline)
        }
        output.print(report.json, else: report.text(isDryRun: dryRun))
        if !report.failed.isEmpty { throw ExitCode.failure }
    }
}

/// The export doesn't verify, so nothing was done.
struct ReapplyError: Error, CustomStringConvertible {
    let reason: String

    var description: String { "Nothing was done, because the export doesn't verify: \(reason)." }
}

extension Reapplication.Report {
    fileprivate var json: JSON {
        [
            "deleted": .int(deleted), "redacted": .int(redacted), "revoked": .int(revoked), "held": .int(held),
            "unchanged": .int(unchanged),
            "failed": .array(failed.map { ["entry": .string($0.entry), "message": .string($0.message)] }),
        ]
    }

    fileprivate func text(isDryRun: Bool) -> String {
        let counts = """
            \(isDryRun ? "Would be done" : "Done") again: \(deleted.counted("deletion", "deletions")), \
            \(redacted.counted("redaction", "redactions")), \(revoked.counted("revocation", "revocations")), \(held.counted("hold", "holds")). \
            Unchanged: \(unchanged). Failed: \(failed.count).
            """
        return ([counts] + failed.map { "\($0.entry): \($0.message)" }).joined(separator: "\n")
    }
}
