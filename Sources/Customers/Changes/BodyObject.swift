/// A request body that is a JSON object.
struct BodyObject {
    private let members: [String: BodyValue]

    /// - Throws: a sentence when it isn't one.
    init(_ body: [UInt8]) throws(Invalidity) {
        guard let members = try? JSONDecoder().decode([String: BodyValue].self, from: Data(body)) else {
            throw .body("the body must be a JSON object")
        }
        self.members = members
    }

    subscript(_ name: String) -> BodyValue? {
        members[name]
    }

    /// Refuses a member that nobody would heed: a misspelt one must not pass for an absent one.
    func refuseMembers(otherThan known: [String]) throws(Invalidity) {
        guard let unknown = members.keys.filter({ !known.contains($0) }).min() else { return }
        // U+0000 is all that a name can hold and the trail can't.
        let name = String(String.UnicodeScalarView(unknown.unicodeScalars.filter { $0.value != 0 }.prefix(50)))
        throw .body("unknown member \(name); known are \(known.joined(separator: ", "))")
    }
}
