import Foundation

/// `embed-openapi DOCUMENT OUTPUT`: writes the description of the API into a Swift file, so that the binary that is
/// deployed carries it. Run by the build plugin of the same name.
///
/// A literal, not SwiftPM's `embedInCode`, which makes an array of bytes that takes the compiler half a minute.
@main
struct EmbedOpenAPI {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else { return fail("usage: embed-openapi DOCUMENT OUTPUT") }
        let document = try String(contentsOf: URL(fileURLWithPath: arguments[1]), encoding: .utf8)
        do {
            _ = try JSONSerialization.jsonObject(with: Data(document.utf8))
        } catch {
            return fail("\(arguments[1]) is no JSON: \(error)")
        }
        let source = """
            // Generated from openapi.json by the plugin EmbedOpenAPI.

            extension OpenAPI {
                static let document = #####\"""
            \(document)\"""#####
            }

            """
        try Data(source.utf8).write(to: URL(fileURLWithPath: arguments[2]))
    }

    private static func fail(_ reason: String) {
        FileHandle.standardError.write(Data("error: \(reason)\n".utf8))
        exit(1)
    }
}
