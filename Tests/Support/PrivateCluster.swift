import Foundation
public import Testing

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A PostgreSQL cluster of the tests' own, started by `scripts/db` in a temporary directory; it ends with the process
/// that started it.
///
/// ``shared`` is started when it is first used. With `CUSTOMERD_TEST_PG` in the environment, a libpq URL of a
/// superuser, that cluster is used instead.
public final class PrivateCluster: Sendable {
    /// The cluster of this test process.
    public static let shared: PrivateCluster = {
        if let url = ProcessInfo.processInfo.environment["CUSTOMERD_TEST_PG"], !url.isEmpty {
            return PrivateCluster(running: url)
        }
        do {
            return try PrivateCluster()
        } catch {
            fatalError("no private cluster: \(error)")
        }
    }()

    /// A superuser's URL of the database `postgres`.
    public let superuserURL: String
    /// The Unix socket, for a ``TCPGate`` to stand before; nil if the cluster isn't ours and is reached otherwise.
    public let socketPath: String?
    /// How it is started and stopped; nil if the cluster isn't ours.
    private let script: Script?
    /// Superusers' URLs of the other nodes, if this is the coordinator of Citus; `CUSTOMERD_TEST_CITUS_WORKERS` names them.
    private let workers: [String]

    private init(running url: String) {
        superuserURL = url
        socketPath = Self.socketPath(in: url)
        script = nil
        workers = (ProcessInfo.processInfo.environment["CUSTOMERD_TEST_CITUS_WORKERS"] ?? "").split(separator: " ").map(
            String.init)
    }

    /// - Parameters:
    ///   - options: for `scripts/db start`, given the cluster's directory, which exists by then.
    private init(settings: [String], options: (_ directory: String) throws -> [String]) throws {
        var template = Array("/tmp/pg-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        let script = Script(directory: String(cString: made), settings: settings)
        // As root, the server runs as another user.
        chmod(script.directory, 0o755)
        OrphanReaper.shared.watch(cluster: script.directory)
        try script.start(try options(script.directory))
        let url = try script.run(["url", "--database", "postgres"]).trimmingCharacters(in: .newlines)
        self.script = script
        workers = []
        superuserURL = url
        socketPath = Self.socketPath(in: url)
    }

    private static func socketPath(in url: String) -> String? {
        let options = URLComponents(string: url)?.queryItems ?? []
        let host = options.first { $0.name == "host" }?.value
        let port = options.first { $0.name == "port" }?.value ?? "5432"
        return host.flatMap { $0.hasPrefix("/") ? "\($0)/.s.PGSQL.\(port)" : nil }
    }

    /// Starts a further cluster, for a test that stops it. Blocks, as ``start()`` and ``stop(mode:)`` do: see
    /// ``aside(_:)``.
    ///
    /// - Parameters:
    ///   - settings: PostgreSQL settings, as `name = value`.
    ///   - speaksTLS: with a certificate of its own making, by `openssl`.
    ///   - walMegabytes: a file system of this size for the WAL alone, in segments of a megabyte; see
    ///     ``canLimitWAL``. Beside the data when nil.
    public convenience init(settings: [String] = [], speaksTLS: Bool = false, walMegabytes: Int? = nil) throws {
        // What stands last counts.
        let settings = ["fsync = off", "max_connections = 200", "shared_buffers = 64MB"] + settings
        try self.init(settings: settings) { directory in
            guard let walMegabytes else { return [] }
            let wal = Self.walDirectory(in: directory)
            mkdir(wal, 0o700)
            try Self.mount(megabytes: walMegabytes, on: wal)
            try Command(["/bin/chown", "postgres", wal]).run()
            return ["--initdb", "--waldir=\(wal)", "--initdb", "--wal-segsize=1"]
        }
        if speaksTLS { try startTLS() }
    }

    /// Starts a standby that follows a cluster, under the name `standby`.
    public convenience init(standbyOf primary: PrivateCluster) throws {
        let source = primary.superuserURL + "&application_name=standby"
        try self.init(settings: primary.script?.settings ?? []) { _ in ["--standby-of", source] }
    }

    /// Makes a certificate where the server looks for it, and has the server use it.
    private func startTLS() throws {
        let script = try ours
        let files = try SelfSignedCertificate()
        for (file, name) in [(files.certificate, "server.crt"), (files.key, "server.key")] {
            let place = "\(script.data)/\(name)"
            try Command(["/bin/cp", file, place]).run()
            // The server takes no key that others can read, or that isn't its user's.
            try Command(["/bin/chmod", "600", place]).run()
            try Command(["/bin/chown", "--reference", script.data, place]).run()
        }
        try script.run(["psql", "-Xqc", "ALTER SYSTEM SET ssl = on"])
        try stop()
        try start()
    }

    /// The same server by TCP, in the database `postgres`.
    public var tcpURL: String {
        get throws {
            try ours.run(["url", "--database", "postgres", "--tcp"]).trimmingCharacters(in: .newlines)
        }
    }

    /// Where it listens, as libpq's `host` and `port`; nil if the cluster isn't ours.
    var address: (host: String, port: String)? {
        guard script != nil, let items = URLComponents(string: superuserURL)?.queryItems else { return nil }
        func value(_ name: String) -> String { items.first { $0.name == name }?.value ?? "" }
        return (value("host"), value("port"))
    }

    // MARK: - Databases

    /// A libpq URL.
    public func url(database: String = "postgres", user: String = "postgres") -> String {
        guard var components = URLComponents(string: superuserURL) else { return superuserURL }
        components.path = "/\(database)"
        if user != components.user {
            components.user = user
            components.password = nil
        }
        return components.string ?? superuserURL
    }

    /// Makes a database with a name that no other has.
    ///
    /// - Parameter encoding: another than the cluster's.
    public func createDatabase(template: String? = nil, encoding: String? = nil) async throws -> String {
        let name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "_")
        let form = encoding.map { " ENCODING '\($0)' LC_COLLATE 'C' LC_CTYPE 'C'" } ?? ""
        for node in [self] + nodes {
            try await node.psql("CREATE DATABASE \(name) TEMPLATE \(template ?? "template0")\(form)")
        }
        try await distribute(name)
        return name
    }

    public func dropDatabase(_ name: String) async throws {
        for node in [self] + nodes {
            try await node.psql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
        }
    }

    // MARK: - Nodes

    /// Whether the databases of the shared cluster are distributed over several nodes by Citus.
    public static let isDistributed = ProcessInfo.processInfo.environment["CUSTOMERD_TEST_CITUS_WORKERS"] != nil

    /// The other nodes.
    public var nodes: [PrivateCluster] { workers.map(PrivateCluster.init(worker:)) }

    private init(worker url: String) {
        superuserURL = url
        socketPath = nil
        script = nil
        workers = []
    }

    /// Makes the nodes of a database know each other.
    private func distribute(_ name: String) async throws {
        guard !workers.isEmpty else { return }
        for node in [self] + nodes { try await node.psql("CREATE EXTENSION citus", database: name) }
        var sql = "SELECT citus_set_coordinator_host('127.0.0.1', current_setting('port')::int);"
        for worker in workers {
            guard let address = URLComponents(string: worker), let host = address.host, let port = address.port else {
                throw NeverHappened("the URL of a worker had host and port")
            }
            sql += "SELECT citus_add_node('\(host)', \(port));"
        }
        sql += "SELECT citus_set_node_property('127.0.0.1', current_setting('port')::int, 'shouldhaveshards', false)"
        // It hands on the roles of the cluster, too, which another suite may be doing for its database at the moment.
        for round in 1... {
            do {
                try await psql(sql, database: name)
                return
            } catch  where round < 10 && "\(error)".contains("tuple concurrently updated") {
                try await Task.sleep(for: .milliseconds(100 * round))
            }
        }
    }

    /// Runs SQL in `psql`, which stops at the first error.
    ///
    /// - Returns: the rows, unaligned, columns separated by `|`.
    @discardableResult
    public func psql(_ sql: String, database: String = "postgres", user: String = "postgres") async throws -> String {
        try await psql(["-c", sql], database: database, user: user)
    }

    /// Runs a file in `psql`, in its own directory.
    @discardableResult
    public func psql(file: String, database: String = "postgres", user: String = "postgres") async throws -> String {
        try await psql(["-f", file], database: database, user: user)
    }

    /// Runs `psql` with arguments of one's own, such as `-v name=value`.
    @discardableResult
    public func psql(
        _ arguments: [String], database: String = "postgres", user: String = "postgres"
    ) async throws -> String {
        let url = url(database: database, user: user)
        let options = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        return try await Command(["/usr/bin/env", "psql"] + options + arguments + [url]).runAside()
    }

    // MARK: - The server

    /// `scripts/db` for one cluster.
    private struct Script {
        let directory: String
        /// The PostgreSQL settings of every start, as `name = value`.
        let settings: [String]

        var data: String { "\(directory)/postgres/data" }

        @discardableResult
        func run(_ arguments: [String]) throws -> String {
            let program = ["/usr/bin/env", "CUSTOMERD_DATA_DIR=\(directory)", projectFile("scripts/db")]
            return try Command(program + arguments).run()
        }

        func start(_ options: [String] = []) throws {
            try run(["start"] + settings.flatMap { ["-c", $0.replacing(" = ", with: "=")] } + options)
        }
    }

    private var ours: Script {
        get throws {
            guard let script else { throw NeverHappened("the cluster was the tests' own") }
            return script
        }
    }

    /// Starts the server, unless it runs or is about to.
    public func start() throws {
        try ours.start()
    }

    /// - Parameter mode: `fast` ends sessions with 57P01, `immediate` without a word.
    public func stop(mode: String = "fast") throws {
        try ours.run(mode == "immediate" ? ["stop", "--immediate"] : ["stop"])
    }

    /// Stops the server and deletes its data.
    public func remove() throws {
        let script = try ours
        try script.run(["remove"])
        let wal = Self.walDirectory(in: script.directory)
        if FileManager.default.fileExists(atPath: wal) { _ = try? Command(["/bin/umount", wal]).run() }
        try? FileManager.default.removeItem(atPath: script.directory)
        OrphanReaper.shared.forget(cluster: script.directory)
    }

    /// Makes a primary of a standby.
    public func promote() async throws {
        try await psql("SELECT pg_promote()")
    }

    /// Changes a setting of the running server, for all its sessions.
    public func set(_ name: String, _ value: String) async throws {
        try await psql(["-c", "ALTER SYSTEM SET \(name) = '\(value)'", "-c", "SELECT pg_reload_conf()"])
    }

    /// What the server has logged; empty if the cluster isn't ours.
    public var log: String {
        guard let script else { return "" }
        return (try? String(contentsOfFile: "\(script.directory)/postgres/server.log", encoding: .utf8)) ?? ""
    }

    // MARK: - Its WAL

    /// Whether a cluster can have a file system of its own for its WAL: as root, where mounting is allowed.
    public static let canLimitWAL: Bool = {
        guard getuid() == 0 else { return false }
        let place = FileManager.default.temporaryDirectory.appendingPathComponent("mount-\(UUID().uuidString)").path
        guard mkdir(place, 0o700) == 0 else { return false }
        defer { rmdir(place) }
        guard (try? mount(megabytes: 1, on: place)) != nil else { return false }
        return (try? Command(["/bin/umount", place]).run()) != nil
    }()

    private static func mount(megabytes: Int, on place: String) throws {
        try Command(["/bin/mount", "-t", "tmpfs", "-o", "size=\(megabytes)m,mode=0700", "tmpfs", place]).run()
    }

    /// Leaves no room for more WAL.
    public func fillWAL() throws {
        guard let file = FileHandle(creating: ballast) else { throw POSIXError(.EIO) }
        defer { try? file.close() }
        let block = Data(count: 65_536)
        while (try? file.write(contentsOf: block)) != nil {}
    }

    /// Gives the room back.
    public func emptyWAL() {
        unlink(ballast)
    }

    private static func walDirectory(in directory: String) -> String { "\(directory)/wal" }

    private var ballast: String { "\(Self.walDirectory(in: script?.directory ?? ""))/ballast" }
}

extension FileHandle {
    fileprivate convenience init?(creating path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return nil }
        self.init(fileDescriptor: descriptor, closeOnDealloc: true)
    }
}

extension Trait where Self == ConditionTrait {
    /// Not on a cluster of Citus, where this isn't to be had.
    public static func singleNode(_ reason: Comment) -> Self {
        .enabled(if: !PrivateCluster.isDistributed, reason)
    }
}
