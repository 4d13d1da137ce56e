/// All series under one name.
struct MetricFamily: Sendable {
    enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    let kind: Kind
    private var series: [String: MetricSeries] = [:]

    init(kind: Kind) {
        self.kind = kind
    }

    mutating func series(_ dimensions: [(String, String)]) -> MetricSeries {
        let labels = dimensions.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",")
        if let known = series[labels] { return known }
        let new = MetricSeries(kind: kind)
        series[labels] = new
        return new
    }

    func text(name: String) -> String {
        let lines = series.sorted { $0.key < $1.key }.map { $0.value.text(name: name, labels: $0.key) }
        let help = MetricHelp.lines[name].map { "# HELP \(name) \($0)\n" } ?? ""
        return help + "# TYPE \(name) \(kind.rawValue)\n" + lines.joined()
    }

    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    }
}
