/// Personal data that a client sends, each recognizable wherever it turns up by a mark that nothing else has.
package struct PersonalData: Sendable, Hashable {
    /// `zq` and 16 hexadecimal digits.
    package var mark: String

    package init(mark: String) {
        self.mark = mark
    }

    package var firstName: String { "Fn \(mark)" }
    package var lastName: String { "Ln \(mark)" }
    package var email: String { "\(mark)@chaos.example" }
    package var phoneNumber: String { mark }

    /// All marks that a text holds.
    package static func marks(in text: String) -> Set<String> {
        let (prefix, digits) = ("zq".utf8, 16)
        var text = text
        return text.withUTF8 { bytes in
            var found: Set<String> = []
            var position = bytes.startIndex
            while position + prefix.count + digits <= bytes.endIndex {
                guard bytes[position] == UInt8(ascii: "z"), bytes[position + 1] == UInt8(ascii: "q") else {
                    position += 1
                    continue
                }
                let mark = bytes[position..<position + prefix.count + digits]
                if mark.dropFirst(prefix.count).allSatisfy({ "0123456789abcdef".utf8.contains($0) }) {
                    found.insert(String(decoding: mark, as: UTF8.self))
                }
                position += 1
            }
            return found
        }
    }
}
