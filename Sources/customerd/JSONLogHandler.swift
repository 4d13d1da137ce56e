import Customers
import Logging

/// Writes each line of the log as a JSON object to standard error: `time`, `level`, `logger` and `message`, then the
/// metadata by name. Metadata under one of these names gets an underscore in front.
struct JSONLogHandler: LogHandler {
    private static let ownNames: Set = ["time", "level", "logger", "message"]

    let label: String
    var logLevel: Logger.Level = .info
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(label: String) {
        self.label = label
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        for more in [metadataProvider?.get(), event.metadata].compactMap({ $0 }) { all.merge(more) { $1 } }
        let line = JSON.object(
            [
                .init(name: "time", value: .string(Timestamp.now().description)),
                .init(name: "level", value: .string(event.level.rawValue)),
                .init(name: "logger", value: .string(label)),
                .init(name: "message", value: .string(event.message.description)),
            ]
                + all.sorted { $0.key < $1.key }.map { name, value in
                    .init(name: Self.ownNames.contains(name) ? "_\(name)" : name, value: Self.json(value))
                }
        )
        StandardError.print(line.text)
    }

    private static func json(_ value: Logger.Metadata.Value) -> JSON {
        switch value {
        case .string(let text): .string(text)
        case .stringConvertible(let convertible): .string(convertible.description)
        case .array(let values): .array(values.map(json))
        case .dictionary(let members):
            .object(members.sorted { $0.key < $1.key }.map { .init(name: $0.key, value: json($0.value)) })
        }
    }
}
