/// What an entry of an export says was done, for those who do it again. ``ExportVerifier`` proves the export.
public struct ExportedEntry: Sendable, Hashable {
    public let id: String
    public let appID: String
    public let seq: Int
    public let occurredAt: String?
    public let action: String
    public let outcome: String
    public let customerID: String?
    public let reason: String?
    public let actorKeyID: String?
    public let actorName: String?
    /// JSON text.
    public let request: String?

    /// Reads a line; nil if it isn't an entry.
    public init?(line: some Sequence<UInt8>) {
        guard case .entry(let row, _)? = try? ExportLine(line), let seq = row[.seq].flatMap({ Int($0) }) else {
            return nil
        }
        id = row[.id] ?? ""
        appID = row[.appID] ?? ""
        self.seq = seq
        occurredAt = row[.occurredAt]
        action = row[.action] ?? ""
        outcome = row[.outcome] ?? ""
        customerID = row[.customerID]
        reason = row[.reason]
        actorKeyID = row[.actorKeyID]
        actorName = row[.actorName]
        request = row[.request]
    }
}
