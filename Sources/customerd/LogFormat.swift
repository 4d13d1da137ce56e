/// How the lines of the log are written.
enum LogFormat: String, Sendable {
    /// As swift-log writes them, for people.
    case text
    /// One JSON object a line, for machines.
    case json
}
