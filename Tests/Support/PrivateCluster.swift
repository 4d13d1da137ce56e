import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A PostgreSQL cluster of the tests' own, in a temporary directory, that ends with the process that started it.
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
    /// The Unix socket, for a ``TCPGate`` to stand before; nil if somebody else's cluster is reached otherwise.
    public let socketPath: String?
    /// The same database by TCP; nil if the cluster is somebody else's.
    public let tcpURL: String?
    /// Where it lies and listens; nil if it is somebody else's.
    let directory: String?
    let port: Int?

    private init(running url: String) {
        superuserURL = url
        let options = URLComponents(string: url)?.queryItems ?? []
        let socketDirectory = options.first { $0.name == "host" }?.value.flatMap { $0.hasPrefix("/") ? $0 : nil }
        let port = options.first { $0.name == "port" }?.value ?? "5432"
        tcpURL = nil
        socketPath = socketDirectory.map { "\($0)/.s.PGSQL.\(port)" }
        directory = nil
        self.port = nil
    }

    /// Where one is going to be: its directory and port.
    private init(inNewDirectory _: Void) throws {
        var template = Array("/tmp/pg-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        let directory = String(cString: made)
        let port = try Self.freePort()
        self.directory = directory
        self.port = port
        socketPath = "\(directory)/.s.PGSQL.\(port)"
        tcpURL = "postgresql://postgres@127.0.0.1:\(port)/postgres"
        superuserURL = "postgresql://postgres@/postgres?host=\(directory)&port=\(port)"
        if getuid() == 0 { try Command(["/bin/chown", "postgres", directory]).run() }
        try Self.startWatchdog(over: directory)
    }

    /// Starts a further cluster, for a test that stops it. Blocks, as ``start()`` and ``stop(mode:)`` do: see
    /// ``aside(_:)``.
    ///
    /// - Parameters:
    ///   - settings: lines for `postgresql.conf`.
    ///   - speaksTLS: with a certificate of its own making, by `openssl`.
    ///   - walMegabytes: a file system of this size for the WAL alone, in segments of a megabyte; see
    ///     ``canLimitWAL``. Beside the data when nil.
    public convenience init(settings: [String] = [], speaksTLS: Bool = false, walMegabytes: Int? = nil) throws {
        try self.init(inNewDirectory: ())
        let arguments = ["-D", dataDirectory, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        if let walMegabytes {
            try Self.runAsServer("mkdir", [walDirectory])
            try Self.mount(megabytes: walMegabytes, on: walDirectory)
            try Command(["/bin/chown", "postgres", walDirectory]).run()
            try Self.runAsServer("initdb", arguments + ["--waldir", walDirectory, "--wal-segsize", "1"])
        } else {
            try Self.runAsServer("initdb", arguments)
        }
        try configure(
            ["fsync = off", "max_connections = 200", "shared_buffers = 64MB"] + (speaksTLS ? ["ssl = on"] : [])
                + settings)
        if speaksTLS { try Self.makeCertificate(in: dataDirectory) }
        try start()
    }

    /// Starts a standby that follows a cluster, under the name `standby`.
    public convenience init(standbyOf primary: PrivateCluster) throws {
        try self.init(inNewDirectory: ())
        let source = primary.superuserURL + "&application_name=standby"
        try Self.runAsServer(
            "pg_basebackup", ["-D", dataDirectory, "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"])
        try configure([])
        try start()
    }

    private var dataDirectory: String { "\(directory ?? "")/data" }
    private var walDirectory: String { "\(directory ?? "")/wal" }

    /// What stands last in the file counts.
    private func configure(_ settings: [String]) throws {
        guard let directory, let port else { preconditionFailure("this cluster is somebody else's") }
        let place = [
            "listen_addresses = '127.0.0.1'", "port = \(port)", "unix_socket_directories = '\(directory)'",
        ]
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(dataDirectory)/postgresql.conf"))
        try file.seekToEnd()
        try file.write(contentsOf: Data(("\n" + (place + settings).joined(separator: "\n")).utf8))
        try file.close()
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
        try await psql("CREATE DATABASE \(name) TEMPLATE \(template ?? "template0")\(form)")
        return name
    }

    public func dropDatabase(_ name: String) async throws {
        try await psql("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
    }

    /// Runs SQL in `psql`, which stops at the first error.
    ///
    /// - Returns: the rows, unaligned, columns parted by `|`.
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
        return try await Command([Self.binary("psql")] + options + arguments + [url]).runAside()
    }

    // MARK: - The server

    public func start() throws {
        guard let directory else { preconditionFailure("this cluster is somebody else's") }
        try Self.runAsServer("pg_ctl", ["start", "-w", "-D", dataDirectory, "-l", "\(directory)/log"])
    }

    /// Starts the server unless it is up or on its way.
    public func startIfStopped() throws {
        guard (try? Self.runAsServer("pg_ctl", ["status", "-D", dataDirectory])) == nil else { return }
        // Between two looks it may have come up by itself.
        _ = try? start()
    }

    /// - Parameter mode: `fast` ends sessions with 57P01, `immediate` without a word.
    public func stop(mode: String = "fast") throws {
        guard directory != nil else { preconditionFailure("this cluster is somebody else's") }
        try Self.runAsServer("pg_ctl", ["stop", "-w", "-D", dataDirectory, "-m", mode])
    }

    /// Makes a primary of a standby.
    public func promote() throws {
        guard directory != nil else { preconditionFailure("this cluster is somebody else's") }
        try Self.runAsServer("pg_ctl", ["promote", "-w", "-D", dataDirectory])
    }

    /// Changes a setting of the running server, for all its sessions.
    public func set(_ name: String, _ value: String) async throws {
        try await psql(["-c", "ALTER SYSTEM SET \(name) = '\(value)'", "-c", "SELECT pg_reload_conf()"])
    }

    /// What the server has logged; empty if the cluster is somebody else's.
    public var log: String {
        (try? String(contentsOfFile: "\(directory ?? "")/log", encoding: .utf8)) ?? ""
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

    private var ballast: String { "\(walDirectory)/ballast" }

    // MARK: - Commands

    private static func binary(_ name: String) -> String {
        let debian = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: debian)) ?? []
        let candidates = versions.compactMap { Int($0) }.sorted(by: >).map { "\(debian)/\($0)/bin/\(name)" }
        let path = ProcessInfo.processInfo.environment["PATH", default: ""].split(separator: ":")
        let onPath = path.map { "\($0)/\(name)" }
        return (candidates + onPath).first { FileManager.default.isExecutableFile(atPath: $0) } ?? name
    }

    /// Under the names that the server looks for.
    private static func makeCertificate(in directory: String) throws {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        let files = ["-keyout", "\(directory)/server.key", "-out", "\(directory)/server.crt"]
        try runAsServer("openssl", ["req", "-x509", "-subj", "/CN=localhost"] + key + files)
    }

    /// PostgreSQL's server refuses to run as root.
    private static func runAsServer(_ name: String, _ arguments: [String]) throws {
        let asServer = getuid() == 0 ? ["/usr/sbin/runuser", "-u", "postgres", "--"] : []
        try Command(asServer + [binary(name)] + arguments).run()
    }

    /// Stops the server and removes the directory when this process has ended, however it ended.
    private static func startWatchdog(over directory: String) throws {
        let stop = "'\(binary("pg_ctl"))' stop -w -m immediate -D '\(directory)/data'"
        let asServer = getuid() == 0 ? "runuser -u postgres -- \(stop)" : stop
        let script = """
            trap '' INT TERM HUP
            while kill -0 \(getpid()); do sleep 0.5; done
            \(asServer)
            mountpoint -q '\(directory)/wal' && umount -l '\(directory)/wal'
            rm -rf '\(directory)'
            """
        try Command(["/bin/sh", "-c", script]).spawn()
    }

    private static func freePort() throws -> Int {
        let listener = try LoopbackListener()
        defer { listener.close() }
        return listener.port
    }
}

extension FileHandle {
    fileprivate convenience init?(creating path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return nil }
        self.init(fileDescriptor: descriptor, closeOnDealloc: true)
    }
}
