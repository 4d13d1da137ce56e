import Administration
import ArgumentParser
import AuditTrail
import Customers

/// `customerd reapply`: what a restore from an older backup has brought back, done away with again.
struct Reapply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reapply",
        abstract:
            "After a restore, do again the deletions, redactions, revocations, holds and cancellations of a later export.",
        discussion: """
            The export is verified first. What is done again leaves entries whose request.reapplied_from is the id of the \
            original one. A second run does nothing. A key whose secret was rotated since is revoked: the new secret is lost. \
            Exit 1 if something could not be done.
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
        let verdict = verifier.finish()
        if let broken = verdict.broken {
            throw ReapplyError(reason: "the export doesn't verify: \(broken.reason)")
        }
        // As one that failed leaves it.
        guard verdict.entries > 0 else { throw ReapplyError(reason: "the export has no entries") }
        let report = try await CommandRunner.connected(as: "reapply") { [reapplication] _, connection in
            try await reapplication.apply(connection, isDryRun: dryRun, deadline: Audit.deadline)
        }
        output.print(report.json, else: report.text(isDryRun: dryRun))
        if !report.failed.isEmpty { throw ExitCode.failure }
    }
}

/// The export can't be believed, so nothing was done.
struct ReapplyError: Error, CustomStringConvertible {
    let reason: String

    var description: String { "Nothing was done, because \(reason)." }
}

extension Reapplication.Report {
    fileprivate var json: JSON {
        // The last two only where there are any.
        let counts = [
            ("deleted", deleted), ("redacted", redacted), ("revoked", revoked), ("held", held),
            ("unchanged", unchanged),
        ]
        let further = [("scheduled", scheduled), ("cancelled", cancelled)].filter { $0.1 > 0 }
        let failures = JSON.array(failed.map { ["entry": .string($0.entry), "message": .string($0.message)] })
        return .object(
            (counts + further).map { .init(name: $0, value: .int($1)) } + [.init(name: "failed", value: failures)])
    }

    fileprivate func text(isDryRun: Bool) -> String {
        let counts = """
            \(isDryRun ? "Would be done" : "Done") again: \(deleted.counted("deletion", "deletions")), \
            \(redacted.counted("redaction", "redactions")), \(revoked.counted("revocation", "revocations")), \(held.counted("hold", "holds")), \
            \(scheduled.counted("schedule", "schedules")), \(cancelled.counted("cancellation", "cancellations")). \
            Unchanged: \(unchanged). Failed: \(failed.count).
            """
        return ([counts] + failed.map { "\($0.entry): \($0.message)" }).joined(separator: "\n")
    }
}
