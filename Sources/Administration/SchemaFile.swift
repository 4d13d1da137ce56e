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

    /// All that this binary knows, in order.
    public static let all: [Migration] = EmbeddedText.files.sorted { $0.key < $1.key }.map { path, sql in
        guard let migration = Migration(file: path, sql: sql) else {
            preconditionFailure("\(path): migrations are named NNNN_name.sql")
        }
        return migration
    }

    /// - Parameter file: a path that ends with `NNNN_name.sql`.
    private init?(file: String, sql: String) {
        guard let match = file.firstMatch(of: /(?<name>(?<version>\d{4})_\w+)\.sql$/) else { return nil }
        guard let version = Int(match.version) else { return nil }
        self.init(version: version, name: String(match.name), sql: sql)
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
