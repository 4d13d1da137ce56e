import Foundation
import TestSupport

/// What `customerd audit verify --json` says.
struct ChainReport: Decodable, CustomStringConvertible {
    enum CodingKeys: String, CodingKey {
        case entries, verified, reason
        case brokenAt = "broken_at"
    }

    let entries: Int
    let verified: Int
    let brokenAt: Int?
    let reason: String?

    var isClean: Bool { verified == entries && brokenAt == nil && reason == nil }

    var description: String { "\(verified) of \(entries) entries are good: \(reason ?? "no reason")" }

    static func of(_ database: TestDatabase) async throws -> ChainReport {
        let ended = try await Customerd.run(["audit", "verify", "--json"], ["DATABASE_URL": database.url()])
        return try JSONDecoder().decode(ChainReport.self, from: Data(ended.output.utf8))
    }
}
