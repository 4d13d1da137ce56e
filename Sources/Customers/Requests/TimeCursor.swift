/// Where a page of a list in order of time ended.
struct TimeCursor: Sendable, Hashable {
    /// RFC 3339, with all digits that the database holds.
    let time: String
    /// Which of those of the same time.
    let id: UUID
    /// The path of the list: in another one the place means nothing.
    let list: String

    init(time: String, id: UUID, of list: String) {
        self.time = time
        self.id = id
        self.list = list
    }

    /// Reads what ``text`` wrote for the same list, and nothing else.
    init?(_ text: String, of list: String) {
        guard let data = Data(base64URL: text), let plain = String(bytes: data, encoding: .utf8) else { return nil }
        let parts = plain.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 3, let time = DateTime(String(parts[0])), let id = UUID(strict: parts[1]) else {
            return nil
        }
        self.init(time: time.text, id: id, of: list)
        guard text == self.text else { return nil }
    }

    /// Opaque to clients.
    var text: String {
        Data("\(time) \(id.text) \(list)".utf8).base64URL
    }
}
