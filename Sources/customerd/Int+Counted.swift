extension Int {
    /// "1 chain", "2 chains".
    func counted(_ one: String, _ many: String) -> String {
        "\(self) \(self == 1 ? one : many)"
    }
}
