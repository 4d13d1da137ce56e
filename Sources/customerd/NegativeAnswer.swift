/// A command ran and the answer is no: exit 1 with this sentence, in JSON with `--json`.
struct NegativeAnswer: Error, CustomStringConvertible {
    let description: String

    init(_ sentence: String) {
        description = sentence
    }
}
