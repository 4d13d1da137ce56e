import Foundation

/// The members of a record that a test can't foretell.
public struct Record: Decodable {
    public let id: String
    public let createdAt: String
    public let updatedAt: String

    public init(_ answer: HTTPAnswer) throws {
        self = try JSONDecoder().decode(Record.self, from: Data(answer.body.utf8))
    }
}

/// The members that an update changed, as its entry names them.
public struct Changes: Decodable {
    public let changes: [String]?

    /// - Parameter entry: nil for none.
    public static func named(by entry: TrailEntry?) throws -> [String]? {
        try entry?["request"].map { try JSONDecoder().decode(Changes.self, from: Data($0.utf8)) }?.changes
    }
}
