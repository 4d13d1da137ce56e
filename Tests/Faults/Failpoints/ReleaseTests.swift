import Foundation
import TestSupport
import Testing

@Suite("Failpoints")
struct ReleaseTests {
    /// What a build with failpoints has in its read-only data.
    private static let traces = ["CUSTOMERD_FAILPOINTS", ".armed", "answering"]

    private static let release = Customerd.binary.deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("release/customerd")

    private func traces(in binary: URL) throws -> [String] {
        let bytes = try Data(contentsOf: binary)
        return Self.traces.filter { bytes.range(of: Data($0.utf8)) != nil }
    }

    @Test("are in the debug build that the tests run")
    func debug() throws {
        #expect(try traces(in: Customerd.binary) == Self.traces)
    }

    @Test(
        "have left nothing in a release build, where there is one",
        .enabled(if: FileManager.default.fileExists(atPath: release.path)))
    func nothingInRelease() throws {
        #expect(try traces(in: Self.release) == [])
    }
}
