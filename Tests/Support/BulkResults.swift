import Foundation
import TestSupport

/// What a bulk request answered, item by item.
struct BulkResults: Decodable {
    struct Item: Decodable {
        struct Customer: Decodable {
            let id: String
        }

        let id: String
        let statusCode: Int
        let message: String?
        let customer: Customer?
    }

    let results: [Item]

    init(_ answer: HTTPAnswer) throws {
        self = try JSONDecoder().decode(BulkResults.self, from: Data(answer.body.utf8))
    }

    var ids: [String] { results.map(\.id) }
    var statuses: [Int] { results.map(\.statusCode) }
}
