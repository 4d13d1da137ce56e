import Foundation

/// `embed-migrations FOLDER OUTPUT`: writes the migrations of a folder into one Swift file, so that the binary that
/// is deployed carries its schema. Run by the build plugin of the same name.
@main
struct EmbedMigrations {
    static func main() throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else { return fail("usage: embed-migrations FOLDER OUTPUT") }
        let folder = URL(fileURLWithPath: arguments[1])
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".sql") }
            .sorted()
        var elements: [String] = []
        var versions: Set<Int> = []
        for name in names {
            guard let version = Int(name.prefix(4)), name.dropFirst(4).hasPrefix("_") else {
                return fail("\(name): migrations are named NNNN_name.sql")
            }
            guard versions.insert(version).inserted else { return fail("\(name): there are two with this number") }
            let sql = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
            guard !sql.contains("\"\"\"#####") else { return fail("\(name) ends a Swift literal") }
            elements.append(
                """
                    Migration(
                        version: \(version),
                        name: "\(name.dropLast(4))",
                        sql: #####\"""
                \(sql)
                \"""#####
                    ),
                """
            )
        }
        let source = """
            // Generated from sql/migrations by the plugin EmbedMigrations.

            extension Migration {
                static let embedded: [Migration] = [
            \(elements.joined(separator: "\n"))
                ]
            }

            """
        try Data(source.utf8).write(to: URL(fileURLWithPath: arguments[2]))
    }

    private static func fail(_ reason: String) {
        FileHandle.standardError.write(Data("error: \(reason)\n".utf8))
        exit(1)
    }
}
