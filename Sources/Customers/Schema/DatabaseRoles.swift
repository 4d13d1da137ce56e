/// The three roles of the database. Roles belong to the cluster, so their names share a prefix that can be set.
public struct DatabaseRoles: Sendable, Hashable {
    /// What their names begin with.
    public let prefix: String

    /// - Parameter prefix: lower-case letters, digits and underscores, 41 of them at most; nil if it isn't.
    public init?(prefix: String) {
        guard prefix.wholeMatch(of: /[a-z_][a-z0-9_]{0,40}/) != nil else { return nil }
        self.prefix = prefix
    }

    /// Owns every object of the schema; nobody logs in as it.
    public var owner: String { "\(prefix)_owner" }
    /// What `serve` connects as.
    public var service: String { "\(prefix)_service" }
    /// Reads the trail, and nothing else.
    public var auditor: String { "\(prefix)_auditor" }

    /// The variables of the migrations.
    var variables: [(name: String, role: String)] {
        [("owner", owner), ("service", service), ("auditor", auditor)]
    }
}

extension String {
    /// As an identifier in SQL. Source: PostgreSQL manual, "Identifiers and Key Words".
    var quotedIdentifier: String {
        "\"" + replacing("\"", with: "\"\"") + "\""
    }
}
