import ArgumentParser
import Customers

/// How a command prints its answer.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print machine-readable JSON.")
    var json = false

    func print(_ json: JSON, else text: @autoclosure () -> String) {
        Swift.print(self.json ? json.text : text())
    }
}
