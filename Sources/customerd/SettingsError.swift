/// A setting with a value that it can't have.
struct SettingsError: Error, CustomStringConvertible {
    let variable: String
    /// What the variable may be: the end of a sentence that begins "… must be".
    let expectation: String
    /// What it is; nil where that may be a secret.
    let value: String?

    var description: String {
        "\(variable) must be \(expectation)\(value.map { ", not \"\($0)\"" } ?? "")."
    }
}
