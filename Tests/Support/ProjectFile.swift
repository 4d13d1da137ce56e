import Foundation

/// The absolute path of a file or folder of this project.
///
/// - Parameter path: relative to the root of the checkout.
public func projectFile(_ path: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../\(path)").standardizedFileURL.path
}
