import Foundation
import PackagePlugin

/// Generates `EmbeddedText.swift` from the files that the target's `embedded.txt` names: a file or a folder a line, by
/// its path from the package's root; of a folder all its files, whenever one comes, goes or changes.
@main
struct EmbedText: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let root = context.package.directoryURL
        let list = target.directoryURL.appending(path: "embedded.txt")
        let entries = try String(contentsOf: list, encoding: .utf8).split(separator: "\n").map(String.init)
        var files: [String] = []
        // A folder itself is an input as well, so that a file that is new to it is noticed.
        var folders: [String] = []
        for entry in entries {
            var isFolder: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: root.appending(path: entry).path, isDirectory: &isFolder)
            guard exists else { throw Missing(description: "\(list.path) names \(entry), which isn't there") }
            guard isFolder.boolValue else {
                files.append(entry)
                continue
            }
            folders.append(entry)
            files += try FileManager.default.contentsOfDirectory(atPath: root.appending(path: entry).path).sorted()
                .filter { !$0.hasPrefix(".") }
                .map { "\(entry)/\($0)" }
        }
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedText.swift")
        return [
            .buildCommand(
                displayName: "Embedding text in \(target.name)",
                executable: try context.tool(named: "embed-text").url,
                arguments: [output.path, root.path] + files,
                inputFiles: [list] + (folders + files).map { root.appending(path: $0) },
                outputFiles: [output]
            )
        ]
    }
}

private struct Missing: Error, CustomStringConvertible {
    let description: String
}
