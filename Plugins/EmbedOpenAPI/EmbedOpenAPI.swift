import Foundation
import PackagePlugin

/// Generates `OpenAPI+Embedded.swift` from the target's `OpenAPI/openapi.json`.
@main
struct EmbedOpenAPI: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let document = target.directoryURL.appending(path: "OpenAPI/openapi.json")
        let output = context.pluginWorkDirectoryURL.appending(path: "OpenAPI+Embedded.swift")
        return [
            .buildCommand(
                displayName: "Embedding openapi.json",
                executable: try context.tool(named: "embed-openapi").url,
                arguments: [document.path, output.path],
                inputFiles: [document],
                outputFiles: [output]
            )
        ]
    }
}
