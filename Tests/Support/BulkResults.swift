import Foundation

/// What a bulk request answered, item by item.
public struct BulkResults: Decodable {
    public struct Item: Decodable {
        public struct Customer: Decodable {
            public let id: String
        }

        public let id: String
        public let statusCode: Int
        public let message: String?
        public let customer: Customer?
    }

    public let results: [Item]

    public init(_ answer: HTTPAnswer) throws {
        self = try JSONDecoder().decode(BulkResults.self, from: Data(answer.body.utf8))
    }

    public var ids: [String] { results.map(\.id) }
    public var statuses: [Int] { results.map(\.statusCode) }
}
