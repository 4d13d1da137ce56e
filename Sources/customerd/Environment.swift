import Configuration

/// The variables of the environment, read with a sentence for every invalid value. An empty one counts as absent.
struct Environment {
    private let reader: ConfigReader

    init(_ provider: EnvironmentVariablesProvider) {
        reader = ConfigReader(provider: provider)
    }

    func string(_ variable: String, isSecret: Bool = false) -> String? {
        let key = ConfigKey(variable.lowercased().split(separator: "_").map(String.init))
        let value = reader.string(forKey: key, isSecret: isSecret)
        return value?.isEmpty == true ? nil : value
    }

    func int(_ variable: String, in range: ClosedRange<Int>, default value: Int) throws(SettingsError) -> Int {
        try int(variable, in: range) ?? value
    }

    func int(_ variable: String, in range: ClosedRange<Int>) throws(SettingsError) -> Int? {
        guard let text = string(variable) else { return nil }
        guard let value = Int(text), range.contains(value) else {
            throw SettingsError(
                variable: variable,
                expectation: "a whole number from \(range.lowerBound) to \(range.upperBound)",
                value: text
            )
        }
        return value
    }

    func bool(_ variable: String, default value: Bool) throws(SettingsError) -> Bool {
        guard let text = string(variable) else { return value }
        switch text.lowercased() {
        case "1", "true": return true
        case "0", "false": return false
        default: throw SettingsError(variable: variable, expectation: "1 or 0 (or true or false)", value: text)
        }
    }
}

/// An invalid setting.
struct SettingsError: Error, CustomStringConvertible {
    let variable: String
    /// What the variable may be: the end of a sentence that begins "… must be".
    let expectation: String
    /// The invalid value; nil where it may be a secret.
    let value: String?

    var description: String {
        "\(variable) must be \(expectation)\(value.map { ", not \"\($0)\"" } ?? "")."
    }
}
