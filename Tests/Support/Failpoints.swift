import Foundation

/// The failpoints of a debug build of the service that was started with ``environment``; see `LibPQ/Failpoint.swift`.
///
/// A request that comes to an armed one waits there until it is resumed. Each stops one request, then it is disarmed.
public final class Failpoints: Sendable {
    private let directory: URL

    public init() throws {
        directory = FileManager.default.temporaryDirectory.appendingPathComponent("failpoints-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: directory)
    }

    /// What a service needs to be told.
    public var environment: [String: String] { ["CUSTOMERD_FAILPOINTS": directory.path] }

    /// Stops the next that comes to this moment.
    public func arm(_ moment: String) throws {
        try Data().write(to: file(moment, "armed"))
    }

    /// Whether a request waits there.
    public func isReached(_ moment: String) -> Bool {
        FileManager.default.fileExists(atPath: file(moment, "reached").path)
    }

    /// Returns once a request waits there.
    public func reach(_ moment: String) async throws {
        try await eventually("\(moment) was reached") { isReached(moment) }
    }

    /// Lets the request that waits there go on.
    public func resume(_ moment: String) {
        try? FileManager.default.removeItem(at: file(moment, "reached"))
    }

    /// Lets all requests go on, and stops none any more.
    public func disarm() {
        for name in names where !name.hasSuffix(".passed") {
            try? FileManager.default.removeItem(at: directory.appendingPathComponent(name))
        }
    }

    /// Every moment that a request has ever come to.
    public var passed: Set<String> {
        Set(names.filter { $0.hasSuffix(".passed") }.map { String($0.dropLast(".passed".count)) })
    }

    private var names: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
    }

    private func file(_ moment: String, _ state: String) -> URL {
        directory.appendingPathComponent("\(moment).\(state)")
    }
}
