import Crypto

/// One step in the history of the schema: a file of `sql/migrations`, carried by the binary.
public struct Migration: Sendable, Hashable {
    /// The number in front of the file's name.
    public let version: Int
    /// The file's name without its ending: `0001_customers`.
    public let name: String
    /// What the file says, with the roles as the psql variables `:"owner"`, `:"service"` and `:"auditor"`.
    public let sql: String

    public init(version: Int, name: String, sql: String) {
        self.version = version
        self.name = name
        self.sql = sql
    }

    /// All that this binary knows, in the order of `sql/schema.sql`.
    public static let all: [Migration] = (EmbeddedText.files["sql/schema.sql"] ?? "").split(separator: "\n")
        .filter { $0.hasPrefix("\\ir ") }
        .enumerated()
        .map { index, line in
            let path = String(line.dropFirst(4))
            guard let sql = EmbeddedText.files["sql/" + path] else { preconditionFailure("\(path) isn't embedded") }
            return Migration(version: index + 1, name: path, sql: sql)
        }

    /// SHA-256 of the file, whatever the roles are called.
    public var checksum: [UInt8] {
        Array(SHA256.hash(data: Array(sql.utf8)))
    }

    /// What is sent to the server.
    func sql(for roles: DatabaseRoles) -> String {
        roles.variables.reduce(sql) { sql, variable in
            sql.replacing(":\"\(variable.name)\"", with: variable.role.quotedIdentifier)
        }
    }
}
