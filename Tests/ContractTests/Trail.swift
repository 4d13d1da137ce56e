import Foundation
import TestSupport

/// What `customerd audit verify --json` says.
struct Trail: Decodable {
    enum CodingKeys: String, CodingKey {
        case entries, verified, reason
        case brokenAt = "broken_at"
        case brokenApp = "broken_app"
    }

    var entries: Int
    var verified: Int
    var brokenAt: Int?
    var brokenApp: String?
    var reason: String?

    var isClean: Bool { verified == entries && brokenAt == nil && brokenApp == nil && reason == nil }

    /// - Parameter app: one chain alone; all when nil.
    static func verify(_ database: TestDatabase, app: String? = nil) async throws -> Trail {
        let choice = app.map { ["--app", $0] } ?? []
        let ended = try await Customerd.run(["audit", "verify", "--json"] + choice, ["DATABASE_URL": database.url()])
        return try JSONDecoder().decode(Trail.self, from: Data(ended.output.utf8))
    }
}
