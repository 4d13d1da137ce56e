public import LibPQ

/// What a database says has been applied to it.
struct AppliedSchema: Sendable, Hashable {
    struct Table: Sendable, Hashable {
        let version: Int
        let name: String
        let checksum: [UInt8]
    }

    /// The rows of `service.migrations` by version.
    var tables: [Table] = []
    /// The rows of `service.applied_functions`: checksums by name.
    var functions: [String: [UInt8]] = [:]
    /// A development version kept no record of functions.
    var isDevelopmentVersion = false

    /// Both tables are read only if they are plain tables: reading a view would run what it is made of.
    ///
    /// - Throws: the reader's role may lack a privilege.
    init(_ connection: Connection, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        func rows(_ sql: String) async throws(DatabaseError) -> [Row] {
            try await connection.query(Statement(sql, prepared: false), deadline: deadline).rows
        }
        let kept = try await rows(
            """
            SELECT c.relname
            FROM pg_catalog.pg_class AS c
            JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
            WHERE n.nspname OPERATOR(pg_catalog.=) 'service'
              AND c.relname OPERATOR(pg_catalog.=) ANY ('{migrations,applied_functions}'::pg_catalog.name[])
              AND c.relkind OPERATOR(pg_catalog.=) 'r'
            """
        ).compactMap { $0[0] }
        guard kept.contains("migrations") else { return }
        tables = try await rows(
            """
            SELECT version, name, checksum
            FROM service.migrations
            ORDER BY version
            """
        ).map { row throws(DatabaseError) in
            Table(version: try row.get("version"), name: try row.get("name"), checksum: try row.get("checksum"))
        }
        guard kept.contains("applied_functions") else {
            isDevelopmentVersion = !tables.isEmpty
            return
        }
        for row in try await rows(
            """
            SELECT name, checksum
            FROM service.applied_functions
            """
        ) {
            functions[try row.get("name")] = try row.get("checksum") as [UInt8]
        }
    }

    var version: Int { tables.last?.version ?? 0 }

    /// - Throws: if no customerd of this version can work with the database, neither `migrate` nor `serve`.
    func check(against schema: Schema) throws(SchemaMismatch) {
        if isDevelopmentVersion { throw .developmentVersion }
        let edited = tables.first { table in
            schema.files.contains { $0.version == table.version && $0.checksum != table.checksum }
        }
        if let edited { throw .edited(name: edited.name) }
        if Schema.line(of: version) > Schema.line(of: schema.version) {
            throw .otherLine(version: version, known: schema.version)
        }
    }

    /// The tables files that the database lacks.
    func missing(from schema: Schema) -> [SchemaFile] {
        schema.files.filter { file in
            file.version.map { version in !tables.contains { $0.version == version } } ?? false
        }
    }

    /// The functions files whose text the database doesn't have.
    func outdated(in schema: Schema) -> [SchemaFile] {
        schema.functions.filter { functions[$0.name] != $0.checksum }
    }
}

/// Why a database and a binary don't fit together.
public enum SchemaMismatch: Error, Sendable, Hashable {
    /// The schema was made before the first release.
    case developmentVersion
    /// The database has another text under the same number.
    case edited(name: String)
    /// The schema belongs to a newer major line.
    case otherLine(version: Int, known: Int)
    /// The schema is older; version 0 means that there is none.
    case behind(version: Int, needed: Int)
    /// The version is right, but the functions are those of another build.
    case otherFunctions([String])
}

extension SchemaMismatch: CustomStringConvertible {
    public var description: String {
        switch self {
        case .developmentVersion:
            """
            The database has the schema of a development version of customerd, which can't be upgraded. Create a new \
            database and run `customerd migrate` there.
            """
        case .edited(let name):
            """
            The database was migrated with another text of \(name) than this customerd has. Tables files are never \
            edited after a release: use the customerd that migrated the database, or add a new file.
            """
        case .otherLine(let version, let known):
            """
            The database was migrated to version \(version) by a newer customerd of another major line; this one knows \
            versions up to \(known). Use the newer customerd.
            """
        case .behind(version: 0, _):
            "The database has no schema yet: run `customerd migrate` first."
        case .behind(let version, let needed):
            "The schema has version \(version), but this customerd needs version \(needed): run `customerd migrate`."
        case .otherFunctions(let names):
            """
            The database has other functions than this customerd (\(names.joined(separator: ", "))): run \
            `customerd migrate`.
            """
        }
    }
}

extension Schema {
    /// Refuses a database that this binary can't work with. A newer schema of the same major line is accepted, so that
    /// instances can be upgraded one after another, and rolled back.
    ///
    /// - Returns: the version of the database's schema.
    @discardableResult
    public static func check(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(ServeGuardError) -> Int {
        let applied: AppliedSchema
        do {
            applied = try await AppliedSchema(connection, deadline: deadline)
        } catch {
            throw .init(error)
        }
        do {
            try applied.check(against: current)
        } catch {
            throw .schema(error)
        }
        guard applied.version >= current.version, applied.missing(from: current).isEmpty else {
            throw .schema(.behind(version: applied.version, needed: current.version))
        }
        let outdated = applied.version == current.version ? applied.outdated(in: current) : []
        guard outdated.isEmpty else { throw .schema(.otherFunctions(outdated.map(\.name))) }
        return applied.version
    }
}
