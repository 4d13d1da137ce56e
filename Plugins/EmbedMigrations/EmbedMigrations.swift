import Foundation
import PackagePlugin

/// Generates `Migration+Embedded.swift` from `sql/migrations`, whenever a file of that folder comes, goes or changes.
@main
struct EmbedMigrations: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let folder = context.package.directoryURL.appending(path: "sql/migrations")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        let output = context.pluginWorkDirectoryURL.appending(path: "Migration+Embedded.swift")
        return [
            .buildCommand(
                displayName: "Embedding the migrations",
                executable: try context.tool(named: "embed-migrations").url,
                arguments: [folder.path, output.path],
                // The folder itself is an input as well, so that a file that is new to it is noticed.
                inputFiles: [folder] + files.sorted().map { folder.appending(path: $0) },
                outputFiles: [output]
            )
        ]
    }
}
