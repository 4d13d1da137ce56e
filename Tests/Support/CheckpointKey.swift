import Foundation

/// A key that signs checkpoints, in a directory that is gone with the value.
public final class CheckpointKey: Sendable {
    private let directory: URL
    /// As `--public-key` takes it.
    public let publicKey: String

    public init(name: String = "example.com/trail") async throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("key-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let arguments = ["audit", "keygen", "--name", name, "--key", directory.appendingPathComponent("key").path]
        publicKey = try await Customerd.succeed(arguments).trimmingCharacters(in: .newlines)
    }

    deinit {
        try? FileManager.default.removeItem(at: directory)
    }

    public var path: String { directory.appendingPathComponent("key").path }

    /// Signs the chain of a tenant, and keeps the checkpoint in its database.
    @discardableResult
    public func sign(_ tenant: Tenant) async throws -> String {
        try await tenant.database.customerd(["audit", "checkpoint", "--key", path, "--app", tenant.app])
    }
}
