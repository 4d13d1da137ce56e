import AuditTrail
import Customers
import Logging

/// Writes each log event as one line in the chosen format.
struct LineLogHandler: LogHandler {
    let label: String
    let format: LogFormat
    let writer: LogWriter
    var logLevel: Logger.Level = .info
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    init(label: String, format: LogFormat, writer: LogWriter) {
        self.label = label
        self.format = format
        self.writer = writer
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        for more in [metadataProvider?.get(), event.metadata].compactMap({ $0 }) { all.merge(more) { $1 } }
        writer.write(
            format.line(
                time: .now(), level: event.level, label: label, message: event.message.description,
                metadata: all.sorted { $0.key < $1.key }))
    }
}
