public import Foundation

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
        guard let texts = object["ids"] as? [any Sendable] else { throw .body("ids must be an array of UUIDs") }
        guard (1...Self.mostItems).contains(texts.count) else {
            throw .body("ids must hold 1 to \(Self.mostItems) UUIDs")
        }
        var ids: [UUID] = []
        for text in texts {
            guard let id = (text as? String).flatMap({ UUID(strict: $0) }) else {
                throw .body("ids must be an array of UUIDs")
            }
            ids.append(id)
        }
        guard Set(ids).count == ids.count else { throw .body("ids must not hold the same UUID twice") }
        self.ids = ids
        switch object["dry_run"] {
        case nil: isDryRun = false
        // 1 and 0 cast to Bool as well, but their type isn't that of true and false.
        case let flag as NSNumber where String(cString: flag.objCType) == "c": isDryRun = flag.boolValue
        default: throw .body("dry_run must be true or false")
        }
    }
}
