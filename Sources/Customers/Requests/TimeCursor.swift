/// Where a page of a list in order of time ended.
struct TimeCursor: Sendable, Hashable {
    /// RFC 3339, with all digits that the database holds.
    let time: String
    /// Which of those of the same time.
    let id: UUID

    init(time: String, id: UUID) {
        self.time = time
        self.id = id
    }

    /// Reads what ``text`` wrote, and nothing else.
    init?(_ text: String) {
        guard
            let data = Data(base64URL: text), let plain = String(bytes: data, encoding: .utf8),
            let separator = plain.firstIndex(of: " "), let time = DateTime(String(plain[..<separator])),
            let id = UUID(strict: plain[plain.index(after: separator)...])
        else { return nil }
        self.init(time: time.text, id: id)
        guard text == self.text else { return nil }
    }

    /// Opaque to clients.
    var text: String {
        Data("\(time) \(id.text)".utf8).base64URL
    }
}
