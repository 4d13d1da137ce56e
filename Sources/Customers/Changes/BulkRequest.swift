/// The body of a bulk deletion.
public struct BulkRequest: Sendable, Hashable {
    /// Customers that one request may name.
    public static let mostItems = 100

    /// In the order asked, each once.
    public let ids: [UUID]
    public let isDryRun: Bool

    /// - Throws: what is wrong with the body, in a sentence.
    public init(_ body: [UInt8]) throws(Invalidity) {
        let object = try BodyObject(body)
        try object.refuseMembers(otherThan: ["ids", "dry_run"])
        guard case .array(let values) = object["ids"] else { throw .body("ids must be an array of UUIDs") }
        guard (1...Self.mostItems).contains(values.count) else {
            throw .body("ids must hold 1 to \(Self.mostItems) UUIDs")
        }
        var ids: [UUID] = []
        for value in values {
            guard case .string(let text) = value, let id = UUID(strict: text) else {
                throw .body("ids must be an array of UUIDs")
            }
            ids.append(id)
        }
        guard Set(ids).count == ids.count else { throw .body("ids must not hold the same UUID twice") }
        self.ids = ids
        switch object["dry_run"] {
        case nil: isDryRun = false
        case .bool(let flag): isDryRun = flag
        default: throw .body("dry_run must be true or false")
        }
    }
}
