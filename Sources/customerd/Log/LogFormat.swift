import AuditTrail
import Customers
import Logging

/// The format of the log's lines.
enum LogFormat: String, Sendable {
    /// Time, level and logger, `name=value` for each of the metadata, then the message: for people.
    case text
    /// One JSON object a line, for machines: `time`, `level`, `logger` and `message`, then the metadata by name.
    /// Metadata with one of these names gets an underscore prefix.
    case json

    private static let ownNames: Set = ["time", "level", "logger", "message"]

    /// - Returns: the line, without its line feed.
    func line(
        time: Timestamp, level: Logger.Level, label: String, message: String,
        metadata: [(key: String, value: Logger.Metadata.Value)]
    ) -> String {
        switch self {
        case .text:
            let known = metadata.map { "\($0.key)=\($0.value) " }.joined()
            let line = "\(time) \(level.rawValue) \(label): \(known)\(message)"
            // Text from clients must not start a line of its own. Few lines need the replacement; checking is cheaper.
            return line.utf8.contains(UInt8(ascii: "\n")) ? line.replacing("\n", with: "\\n") : line
        case .json:
            let own: [JSON.Member] = [
                .init(name: "time", value: .string(time.description)),
                .init(name: "level", value: .string(level.rawValue)),
                .init(name: "logger", value: .string(label)),
                .init(name: "message", value: .string(message)),
            ]
            let known = metadata.map { name, value in
                JSON.Member(name: Self.ownNames.contains(name) ? "_\(name)" : name, value: Self.json(value))
            }
            return JSON.object(own + known).text
        }
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
