/// A request body that is a JSON object.
struct BodyObject {
    private let members: [JSONReader.Member]

    /// - Parameter mostValues: more of them are refused.
    /// - Throws: a sentence when it isn't one.
    init(_ body: [UInt8], upTo mostValues: Int = JSONReader.mostValues) throws(Invalidity) {
        let value: JSONReader.Value
        do {
            value = try JSONReader.value(of: body, upTo: mostValues)
        } catch {
            throw .body("the body must be a JSON object: \(error.reason), at byte \(error.byte)")
        }
        guard case .object(let members) = value else { throw .body("the body must be a JSON object") }
        self.members = members
    }

    subscript(_ name: String) -> JSONReader.Value? {
        members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
    }

    /// A required text that isn't blank, of so many characters at most.
    func text(_ name: String, upTo limit: Int) throws(Invalidity) -> String {
        guard let value = self[name] else { throw .body("\(name) is required") }
        guard case .string(let text) = value else { throw .body("\(name) must be a string") }
        guard (1...limit).contains(text.unicodeScalars.count) else {
            throw .body("\(name) must be 1 to \(limit) characters")
        }
        try TextRule.check(text, of: name)
        guard !TextRule.isBlank(text) else { throw .text(name: name, "must not be blank") }
        return text
    }

    /// A text that isn't blank, of so many characters at most; nil if it is absent or null.
    func optionalText(_ name: String, upTo limit: Int) throws(Invalidity) -> String? {
        switch self[name] {
        case nil, .null: nil
        default: try text(name, upTo: limit)
        }
    }

    /// UUIDs, at least one, each once.
    func distinctIDs(_ name: String, atMost limit: Int) throws(Invalidity) -> [UUID] {
        guard case .array(let values) = self[name] else { throw .body("\(name) must be an array of UUIDs") }
        guard (1...limit).contains(values.count) else { throw .body("\(name) must hold 1 to \(limit) UUIDs") }
        var ids: [UUID] = []
        for value in values {
            guard case .string(let text) = value, let id = UUID(strict: text) else {
                throw .body("\(name) must be an array of UUIDs")
            }
            ids.append(id)
        }
        guard Set(ids).count == ids.count else { throw .body("\(name) must not hold the same UUID twice") }
        return ids
    }

    /// False if it is absent.
    func flag(_ name: String) throws(Invalidity) -> Bool {
        switch self[name] {
        case nil: false
        case .bool(let flag): flag
        default: throw .body("\(name) must be true or false")
        }
    }

    /// A time; nil if it is absent or null.
    func dateTime(_ name: String) throws(Invalidity) -> DateTime? {
        switch self[name] {
        case nil, .null: return nil
        case .string(let text):
            guard text.utf8.count <= 64, let time = DateTime(text) else { throw .invalidDateTime(name: name) }
            return time
        default: throw .invalidDateTime(name: name)
        }
    }

    /// Refuses a member that has no meaning here: a misspelled one must not pass for an absent one.
    func refuseMembers(otherThan known: [String]) throws(Invalidity) {
        let unknown = members.first { member in !known.contains { $0.utf8.elementsEqual(member.name.utf8) } }
        guard let unknown else { return }
        let known = known.joined(separator: ", ")
        // The sentence is recorded: a name that can't be a misspelled member may be personal data.
        guard (1...50).contains(unknown.name.utf8.count), unknown.name.utf8.allSatisfy(\.isOfIdentifier) else {
            throw .body("unknown member; known are \(known)")
        }
        throw .body("unknown member \(unknown.name); known are \(known)")
    }
}

extension UInt8 {
    fileprivate var isOfIdentifier: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
