import Foundation
public import LibPQ

/// A database of a suite's own, migrated by the built binary.
public struct TestDatabase: Sendable {
    public let cluster: PrivateCluster
    public let name: String
    private let sessions: SessionCache

    init(cluster: PrivateCluster, name: String) {
        self.cluster = cluster
        self.name = name
        self.sessions = SessionCache(conninfo: cluster.url(database: name, user: "postgres"))
    }

    /// Makes one without a schema.
    public static func empty(
        in cluster: PrivateCluster = .shared, encoding: String? = nil
    ) async throws -> TestDatabase {
        TestDatabase(cluster: cluster, name: try await cluster.createDatabase(encoding: encoding))
    }

    /// Makes one.
    public static func migrated(in cluster: PrivateCluster = .shared) async throws -> TestDatabase {
        let database = try await empty(in: cluster)
        try await database.customerd(["migrate"])
        return database
    }

    /// The same database, as another cluster that follows ours has it.
    public func on(_ cluster: PrivateCluster) -> TestDatabase {
        TestDatabase(cluster: cluster, name: name)
    }

    public func drop() async throws {
        await sessions.close()
        try await cluster.dropDatabase(name)
    }

    /// Ends the sessions that ``rows(_:_:)`` keeps, before the server goes away.
    public func closeSessions() async {
        await sessions.close()
    }

    public func url(user: String = "postgres") -> String {
        cluster.url(database: name, user: user)
    }

    /// Runs a command of customerd that has to succeed, as superuser.
    @discardableResult
    public func customerd(_ arguments: [String]) async throws -> String {
        try await Customerd.succeed(arguments, ["DATABASE_URL": url()])
    }

    // MARK: - SQL

    /// Opens a session that the caller closes.
    public func connect(as user: String = "postgres") async throws -> Connection {
        try await SessionCache.connect(url(user: user))
    }

    /// Runs a statement as superuser.
    ///
    /// - Parameter limit: how long that may take; the machine may be busy with many tests.
    /// - Returns: the rows by column; NULLs are left out.
    @discardableResult
    public func rows(
        _ sql: String, _ parameters: [Parameter] = [], within limit: Duration = .seconds(120)
    ) async throws -> [[String: String]] {
        let result = try await sessions.query(Statement(sql, parameters), within: limit)
        return result.rows.map { row in
            let values = result.columns.indices.compactMap { index in
                row[index].map { (result.columns[index], $0) }
            }
            return Dictionary(uniqueKeysWithValues: values)
        }
    }

    /// The only value of the only row.
    public func value(_ sql: String, _ parameters: [Parameter] = []) async throws -> String? {
        try await rows(sql, parameters).first?.values.first
    }

    /// Runs several statements, as one transaction, in a session of their own.
    public func run(_ sql: String, as user: String = "postgres") async throws {
        let connection = try await connect(as: user)
        do {
            try await connection.script(sql, deadline: .now + .seconds(300))
            await connection.close()
        } catch {
            await connection.close()
            throw error
        }
    }

    /// Changes the schema, one change at a time: two that drop triggers of one table lock it twice each, and would wait for
    /// each other. Again after a deadlock with what else tests do to the same tables.
    public func alter(_ sql: String) async throws {
        while true {
            do {
                return try await run("SELECT pg_advisory_xact_lock(hashtext('alter')); \(sql)")
            } catch let error as DatabaseError where error.isRetryable {
                continue
            }
        }
    }

    /// The SQLSTATE with which a statement fails; nil when it succeeds.
    public func sqlstate(_ sql: String, as user: String) async throws -> String? {
        do {
            try await run(sql, as: user)
            return nil
        } catch let error as DatabaseError {
            guard let state = error.sqlstate else { throw error }
            return state.rawValue
        }
    }

    /// The lines of the dump that hold a secret of the ledger.
    ///
    /// By grep, which looks for thousands of secrets in one pass.
    func leaks() async throws -> [String] {
        let place = FileManager.default.temporaryDirectory.appendingPathComponent("secrets-\(UUID().uuidString)")
        let forms = SecretLedger.shared.forms
        guard !forms.isEmpty else { return [] }
        let patterns = forms.joined(separator: "\n") + "\n"
        guard
            FileManager.default.createFile(
                atPath: place.path, contents: Data(patterns.utf8), attributes: [.posixPermissions: 0o600])
        else { throw POSIXError(.EIO) }
        defer { try? FileManager.default.removeItem(at: place) }
        let script = #"set -o pipefail; pg_dump --inserts -d "$0" | { grep -aFf "$1" || [ $? = 1 ]; }"#
        let child = try ChildProcess(
            ["/usr/bin/env", "bash", "-c", script, url(), place.path], environment: Customerd.environment([:]))
        guard await child.exitStatus(within: .seconds(120)) == 0 else {
            throw NeverHappened("pg_dump worked: \(child.errors)")
        }
        return child.output.split(separator: "\n").map(String.init)
    }

    /// Everything that is in the database, as `pg_dump` writes it.
    public func dump(_ options: [String] = ["--inserts"]) async throws -> String {
        let child = try ChildProcess(
            ["/usr/bin/env", "pg_dump"] + options + ["-d", url()], environment: Customerd.environment([:])
        )
        guard await child.exitStatus(within: .seconds(60)) == 0 else {
            throw NeverHappened("pg_dump worked: \(child.errors)")
        }
        return child.output
    }

    /// A database that is as a backup of this one, restored.
    public func copy() async throws -> TestDatabase {
        let copy = try await Self.empty(in: cluster)
        let child = try ChildProcess(
            ["/bin/sh", "-c", #"pg_dump -d "$0" | psql -Xq -v ON_ERROR_STOP=1 -d "$1""#, url(), copy.url()],
            environment: Customerd.environment([:]))
        guard await child.exitStatus(within: .seconds(60)) == 0 else {
            throw NeverHappened("a copy was made: \(child.errors)")
        }
        return copy
    }
}
