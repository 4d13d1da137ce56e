/// Where a page of the trail ended: before the entry with this `seq`. Entries that arrive meanwhile come before the
/// first page, so no page changes.
public struct AuditCursor: Sendable, Hashable {
    private static let prefix = "before:"

    let seq: Int64

    init(before seq: Int64) {
        self.seq = seq
    }

    /// Reads what ``text`` wrote, and nothing else.
    public init?(_ text: String) {
        let base64 = text.replacing("-", with: "+").replacing("_", with: "/")
        let padding = String(repeating: "=", count: (4 - base64.utf8.count % 4) % 4)
        guard
            let data = Data(base64Encoded: base64 + padding), let plain = String(bytes: data, encoding: .utf8),
            plain.hasPrefix(Self.prefix), let seq = Int64(plain.dropFirst(Self.prefix.count)), seq > 0
        else { return nil }
        self.seq = seq
        guard text == self.text else { return nil }
    }

    /// Opaque to clients: base64url without padding (RFC 4648, section 5).
    public var text: String {
        Data((Self.prefix + String(seq)).utf8).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
}
