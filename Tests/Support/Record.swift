import Foundation
import TestSupport

/// The members of a record that a test can't foretell.
struct Record: Decodable {
    let id: String
    let createdAt: String
    let updatedAt: String

    init(_ answer: HTTPAnswer) throws {
        self = try JSONDecoder().decode(Record.self, from: Data(answer.body.utf8))
    }
}

/// The members that an update changed, as its entry names them.
struct Changes: Decodable {
    let changes: [String]?

    /// - Parameter entry: nil for none.
    static func named(by entry: TrailEntry?) throws -> [String]? {
        try entry?["request"].map { try JSONDecoder().decode(Changes.self, from: Data($0.utf8)) }?.changes
    }
}
