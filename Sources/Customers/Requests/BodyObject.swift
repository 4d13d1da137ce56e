/// A request body that is a JSON object.
struct BodyObject {
    private let members: [JSONReader.Member]

    /// - Throws: a sentence when it isn't one.
    init(_ body: [UInt8]) throws(Invalidity) {
        let value: JSONReader.Value
        do {
            value = try JSONReader.value(of: body)
        } catch {
            throw .body("the body must be a JSON object: \(error.reason), at byte \(error.byte)")
        }
        guard case .object(let members) = value else { throw .body("the body must be a JSON object") }
        self.members = members
    }

    subscript(_ name: String) -> JSONReader.Value? {
        members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
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
