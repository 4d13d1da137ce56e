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
    private let directory: String?

    private init(running url: String) {
        superuserURL = url
        let options = URLComponents(string: url)?.queryItems ?? []
        let socketDirectory = options.first { $0.name == "host" }?.value.flatMap { $0.hasPrefix("/") ? $0 : nil }
        let port = options.first { $0.name == "port" }?.value ?? "5432"
        tcpURL = nil
        socketPath = socketDirectory.map { "\($0)/.s.PGSQL.\(port)" }
        directory = nil
    }

    /// Starts a further cluster, for a test that stops it. Blocks, as ``start()`` and ``stop(mode:)`` do: see ``aside(_:)``.
    ///
    /// - Parameters:
    ///   - settings: lines for `postgresql.conf`.
    ///   - speaksTLS: with a certificate of its own making, by `openssl`.
    public init(settings: [String] = [], speaksTLS: Bool = false) throws {
        var template = Array("/tmp/pg-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        let directory = String(cString: made)
        let port = try Self.freePort()
        self.directory = directory
        socketPath = "\(directory)/.s.PGSQL.\(port)"
        tcpURL = "postgresql://postgres@127.0.0.1:\(port)/postgres"
        superuserURL = "postgresql://postgres@/postgres?host=\(directory)&port=\(port)"
        if getuid() == 0 { try Command(["/bin/chown", "postgres", directory]).run() }
        try Self.runAsServer(
            "initdb", ["-D", "\(directory)/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        )
        let defaults = [
            "listen_addresses = '127.0.0.1'", "port = \(port)", "unix_socket_directories = '\(directory)'",
            "fsync = off", "max_connections = 200", "shared_buffers = 64MB",
        ]
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(directory)/data/postgresql.conf"))
        try file.seekToEnd()
        let tls = speaksTLS ? ["ssl = on"] : []
        try file.write(contentsOf: Data((defaults + tls + settings).joined(separator: "\n").utf8))
        try file.close()
        if speaksTLS { try Self.makeCertificate(in: "\(directory)/data") }
        try Self.startWatchdog(over: directory)
        try start()
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
    public func createDatabase(template: String? = nil) async throws -> String {
        let name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "_")
        try await psql("CREATE DATABASE \(name) TEMPLATE \(template ?? "template0")")
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
        try Self.runAsServer("pg_ctl", ["start", "-w", "-D", "\(directory)/data", "-l", "\(directory)/log"])
    }

    /// - Parameter mode: `fast` ends sessions with 57P01, `immediate` without a word.
    public func stop(mode: String = "fast") throws {
        guard let directory else { preconditionFailure("this cluster is somebody else's") }
        try Self.runAsServer("pg_ctl", ["stop", "-w", "-D", "\(directory)/data", "-m", mode])
    }

    /// Everything that the server has logged; empty if the cluster is somebody else's.
    public var log: String {
        let contents = directory.flatMap { FileManager.default.contents(atPath: "\($0)/log") }
        return String(decoding: contents ?? Data(), as: UTF8.self)
    }

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
