import Crypto

/// One file of `sql/` that makes the schema.
public struct SchemaFile: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// Tables, types, indexes, constraints: applied once, never edited after a release.
        case tables(version: Int)
        /// Functions, views and triggers: applied again whenever their text changes.
        case functions
        /// Who may do what: applied last, each time.
        case grants
    }

    public let kind: Kind
    /// The path below `sql/` without the ending: `tables/0001_customers`.
    public let name: String
    /// The text, with the roles as the psql variables `:"owner"`, `:"service"` and `:"auditor"`.
    public let sql: String

    public init(_ kind: Kind, name: String, sql: String) {
        self.kind = kind
        self.name = name
        self.sql = sql
    }

    /// - Parameter name: `tables/NNNN_name`, `functions/name` or `grants`; nil for any other.
    init?(name: String, sql: String) {
        if let match = name.wholeMatch(of: /tables\/(?<version>\d{4})_\w+/), let version = Int(match.version) {
            self.init(.tables(version: version), name: name, sql: sql)
        } else if name.wholeMatch(of: /functions\/\w+/) != nil {
            self.init(.functions, name: name, sql: sql)
        } else if name == "grants" {
            self.init(.grants, name: name, sql: sql)
        } else {
            return nil
        }
    }

    /// SHA-256 of the file, independent of the role names.
    public var checksum: [UInt8] {
        Array(SHA256.hash(data: Array(sql.utf8)))
    }

    /// What is sent to the server: psql's variables replaced, as an identifier `:"name"` or as a literal `:'name'`.
    ///
    /// Source: PostgreSQL manual, psql, "SQL Interpolation".
    func sql(for roles: DatabaseRoles) -> String {
        roles.variables.reduce(sql) { sql, variable in
            sql.replacing(":\"\(variable.name)\"", with: variable.role.quotedIdentifier)
                .replacing(":'\(variable.name)'", with: "'\(variable.role)'")
        }
    }
}

/// The schema that a binary carries: the files that the index `sql/schema.sql` names, in its order.
///
/// A release that changes any of them adds a numbered file to `sql/tables`, even one that holds only a comment, so that the
/// version orders functions and grants as well. `sql/releases` has what was released.
public struct Schema: Sendable {
    public let files: [SchemaFile]

    public init(files: [SchemaFile]) {
        self.files = files
    }

    /// The schema of this binary.
    public static let current: Schema = {
        let index = EmbeddedText.files["sql/schema.sql"] ?? ""
        let files = index.matches(of: /(?m)^\\ir +(?<path>\S+)\.sql$/).map { line in
            let name = String(line.path)
            guard let sql = EmbeddedText.files["sql/\(name).sql"], let file = SchemaFile(name: name, sql: sql) else {
                preconditionFailure("sql/schema.sql includes \(name).sql, which is missing or has no valid name")
            }
            return file
        }
        return Schema(files: files)
    }()

    /// The number of the last tables file; 0 without one.
    public var version: Int {
        files.compactMap(\.version).max() ?? 0
    }

    var functions: [SchemaFile] { files.filter { $0.kind == .functions } }
    var grants: [SchemaFile] { files.filter { $0.kind == .grants } }

    /// The only place that defines a major line: versions 1 to 999 are line 0, 1000 to 1999 are line 1, and so on.
    /// Within a line, an older instance works with a newer schema.
    static func line(of version: Int) -> Int {
        version / 1000
    }
}

extension SchemaFile {
    var version: Int? {
        if case .tables(let version) = kind { version } else { nil }
    }
}
