import AuditTrail
import ArgumentParser
import Customers

/// How a command prints its answer.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print machine-readable JSON.")
    var json = false

    /// - Parameter text: lines. What they quote from the database may contain characters that act on a terminal.
    func print(_ json: JSON, else text: @autoclosure () -> String) {
        Swift.print(self.json ? json.text : text().visibleLines)
    }
}

extension String {
    /// The same lines with everything else that acts on a terminal escaped. A value that must not begin a line of its own is
    /// escaped before, by ``TextRule/visible(_:)``.
    var visibleLines: String {
        split(separator: "\n", omittingEmptySubsequences: false).map { TextRule.visible(String($0)) }
            .joined(separator: "\n")
    }
}
