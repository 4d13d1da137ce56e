import Foundation

/// What `customerd audit verify --json` says.
public struct Trail: Sendable, Decodable {
    enum CodingKeys: String, CodingKey {
        case entries, verified, reason
        case brokenAt = "broken_at"
        case brokenApp = "broken_app"
    }

    public var entries: Int
    public var verified: Int
    public var brokenAt: Int?
    public var brokenApp: String?
    public var reason: String?

    public var isClean: Bool { verified == entries && brokenAt == nil && brokenApp == nil && reason == nil }

    /// - Parameters:
    ///   - app: one chain alone; all when nil.
    ///   - checkpoint: the path of a checkpoint that the chains must hold to.
    public static func verify(
        _ database: TestDatabase, app: String? = nil, checkpoint: String? = nil
    ) async throws -> Trail {
        let choice = (app.map { ["--app", $0] } ?? []) + (checkpoint.map { ["--checkpoint", $0] } ?? [])
        let ended = try await Customerd.run(["audit", "verify", "--json"] + choice, ["DATABASE_URL": database.url()])
        return try JSONDecoder().decode(Trail.self, from: Data(ended.output.utf8))
    }
}
