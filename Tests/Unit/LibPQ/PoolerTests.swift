import Foundation
import TestSupport
import Testing

@testable import LibPQ

/// With a PgBouncer in transaction mode between, which gives each transaction any of its server sessions.
@Suite("Behind PgBouncer", .enabled(if: PgBouncer.isInstalled))
struct PoolerTests {
    @Test("a transaction in a server session that has never seen our settings is pinned all the same")
    func freshServerSession() async throws {
        let place = try await SessionParameterTests.Place()
        let hazards = SessionParameterTests.hazards.filter {
            ["search_path", "TimeZone", "DateStyle"].contains($0.name)
        }
        for hazard in hazards { try await place.set(hazard, for: "ROLE \(place.role)") }
        let pooler = try PgBouncer(database: place.database, user: place.role)
        let connection = try await pooler.connect()
        let first = try await connection.pid()
        // Two transactions hold two server sessions, the one that our settings went to among them.
        let holders = [try await pooler.connect(), try await pooler.connect()]
        for holder in holders { try await holder.run("BEGIN") }

        let fresh = try await connection.pid()
        var (alone, together): ([String?], [String?]) = ([], [])
        for hazard in hazards {
            alone.append(try await connection.value("SELECT \(hazard.expression)"))
            let outcome = await connection.transaction([Statement("SELECT \(hazard.expression)")], deadline: .soon)
            together.append(outcome.committedResults?.first?.rows.first?[0])
        }

        #expect(fresh != first, "another server session")
        #expect(alone == hazards.map(\.result))
        #expect(together == hazards.map(\.result))
        for session in holders + [connection] { await session.close() }
        pooler.remove()
        try await place.remove()
    }
}

/// A PgBouncer in transaction mode before the shared cluster.
private struct PgBouncer {
    static let path = "/usr/sbin/pgbouncer"
    static var isInstalled: Bool { canUseGate && FileManager.default.isExecutableFile(atPath: path) }

    private let directory: URL
    private let process: ChildProcess
    private let database: String
    private let user: String

    init(database: String, user: String) throws {
        self.database = database
        self.user = user
        directory = URL(fileURLWithPath: "/tmp/\(uniqueName("b").prefix(20))")
        try FileManager.default.createDirectory(
            at: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o777])
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: directory.path)
        let socket = URL(fileURLWithPath: PrivateCluster.shared.socketPath ?? "")
        let settings = """
            [databases]
            \(database) = host=\(socket.deletingLastPathComponent().path) port=\(socket.pathExtension) user=\(user)
            [pgbouncer]
            listen_addr =
            listen_port = 6432
            unix_socket_dir = \(directory.path)
            auth_type = any
            pool_mode = transaction
            default_pool_size = 3
            """
        let file = directory.appendingPathComponent("pgbouncer.ini")
        try Data(settings.utf8).write(to: file)
        // It refuses to run as root, and the socket of the cluster is only for its user.
        let user = getuid() == 0 ? ["/usr/bin/setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : []
        process = try ChildProcess(user + [Self.path, "--quiet", file.path], environment: ["PATH": "/usr/bin:/bin"])
    }

    func connect() async throws -> Connection {
        let conninfo = "host=\(directory.path) port=6432 dbname=\(database) user=\(user)"
        let settings = ConnectionSettings(conninfo: conninfo, preparesStatements: false)
        var connection: Connection?
        try await eventually("PgBouncer answers") {
            connection = try? await Connection.connect(settings, deadline: .soon)
            return connection != nil
        }
        return try #require(connection)
    }

    /// Removes its files. The process ends with this value.
    func remove() {
        withExtendedLifetime(process) { try? FileManager.default.removeItem(at: directory) }
    }
}
