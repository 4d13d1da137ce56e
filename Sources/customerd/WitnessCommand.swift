import ArgumentParser
import AuditTrail
import CustomerHTTP
import Logging
import NIOCertificateReloading
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import ServiceLifecycle
import SystemPackage

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

extension Audit {
    struct Witness: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Be a witness: cosign the checkpoints of others that continue what was cosigned before.",
            discussion: """
                It speaks C2SP tlog-witness over HTTP, and remembers the last checkpoint of each log in the directory \
                of --state. Run it where the operator of the logs has no access. It needs no database.

                With --tls-certificate and --tls-key it speaks HTTPS; renewed files are taken up within a minute.
                """
        )

        @Option(help: ArgumentHelp("The key file that cosigns, as `audit keygen` writes it.", valueName: "file"))
        var key: String
        @Option(help: ArgumentHelp("The directory with what was cosigned; it is created.", valueName: "directory"))
        var state: String
        @Option(help: ArgumentHelp("Where to listen; port 0 for any that is free.", valueName: "host:port"))
        var listen: String
        @Option(help: ArgumentHelp("A file with the public keys of the logs, one a line.", valueName: "file"))
        var logKey: String
        @Option(help: ArgumentHelp("Speak HTTPS with this certificate chain in PEM.", valueName: "file"))
        var tlsCertificate: String?
        @Option(help: ArgumentHelp("The private key of that certificate in PEM.", valueName: "file"))
        var tlsKey: String?
        @OptionGroup var output: OutputOptions

        private static let reloadInterval = Duration.seconds(60)

        func validate() throws {
            guard (tlsCertificate == nil) == (tlsKey == nil) else {
                throw ValidationError("--tls-certificate and --tls-key need each other.")
            }
            guard address != nil else {
                throw ValidationError("--listen must be host:port, not \"\(listen)\".")
            }
        }

        private var address: (host: String, port: Int)? {
            guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]),
                (0...65_535).contains(port)
            else { return nil }
            var host = listen[..<colon]
            if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
            return host.isEmpty ? nil : (String(host), port)
        }

        func run() async throws {
            let stop = await StopSignals.trap()
            let signer = try KeyFile.signer(key, pemName: "")
            let logs = try KeyFile.verifiers(logKey)
            let store = try WitnessDirectory(state)
            let witness = AuditTrail.Witness(signer: signer, logs: logs, store: store)
            guard let (host, port) = address else { return }
            var logger = Logger(label: "customerd") { _ in SwiftLogNoOpLogHandler() }
            logger.logLevel = .critical
            let (tls, reloader) = try secure(logger)
            let desk = WitnessDesk(witness: witness)
            let server = WitnessServer(desk: desk, host: host, port: port, tls: tls) { address in
                let scheme = tls == nil ? "http" : "https"
                let url =
                    "\(scheme)://\(address.ipAddress.map { $0.contains(":") ? "[\($0)]" : $0 } ?? host):\(address.port ?? port)"
                let publicKey = signer.witnessKey.text
                output.print(
                    ["public_key": .string(publicKey), "url": .string(url)],
                    else: "The witness \(publicKey) listens on \(url)")
                // The program that started it waits for this line.
                fflush(nil)
            }
            let services: [any Service] = [server] + (reloader.map { [$0] } ?? [])
            let group = ServiceGroup(
                configuration: .init(services: services.map { .init(service: $0) }, logger: logger))
            await stop.handOver(to: group)
            try await group.run()
        }

        /// What connections are secured with, and what takes up renewed files; neither without files.
        private func secure(_ logger: Logger) throws -> (tls: NIOSSLContext?, reloader: (any Service)?) {
            guard let tlsCertificate, let tlsKey else { return (nil, nil) }
            let files = CertificateFiles(chain: tlsCertificate, key: tlsKey, interval: Self.reloadInterval)
            do {
                var configuration = try files.configuration()
                let reloader = files.reloader(logger)
                configuration.setCertificateReloader(reloader)
                return (try NIOSSLContext(configuration: configuration), reloader)
            } catch let error as CertificateError {
                throw ValidationError("\(error)")
            }
        }
    }
}

/// Lets requests at the witness one at a time: looking at the last checkpoint and replacing it is one step.
private actor WitnessDesk {
    private let witness: AuditTrail.Witness

    init(witness: AuditTrail.Witness) {
        self.witness = witness
    }

    func answer(_ head: HTTPRequestHead, _ body: ByteBuffer) -> (status: Int, contentType: String, body: String) {
        let path = String(head.uri.prefix { $0 != "?" })
        do {
            let now = UInt64(max(0, Timestamp.now().microseconds / 1_000_000))
            let answer = try witness.answer(
                method: head.method.rawValue, path: path, body: String(buffer: body), time: now)
            return (answer.status, answer.contentType, answer.body)
        } catch {
            StandardError.print("\(error)")
            return (500, "text/plain; charset=utf-8", "the state can't be read or written\n")
        }
    }
}

/// The witness over HTTP.
private struct WitnessServer: Service {
    /// How long a connection lives, whatever it does.
    private static let lifetime = Duration.seconds(60)
    private static let largestNumber = 256

    let desk: WitnessDesk
    let host: String
    let port: Int
    let tls: NIOSSLContext?
    let isListening: @Sendable (SocketAddress) -> Void

    typealias Connection = NIOAsyncChannel<HTTPServerRequestPart, HTTPServerResponsePart>

    func run() async throws {
        let server = try await bind()
        if let address = server.channel.localAddress { isListening(address) }
        do {
            try await cancelWhenGracefulShutdown { try await accept(server) }
        } catch is CancellationError {
            // It was asked to stop.
        }
    }

    private func accept(_ server: NIOAsyncChannel<Connection, Never>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            try await server.executeThenClose { connections in
                var running = 0
                for try await connection in connections {
                    if running >= Self.largestNumber {
                        try await group.next()
                        running -= 1
                    }
                    running += 1
                    group.addTask { await serve(connection) }
                }
            }
            group.cancelAll()
        }
    }

    private func bind() async throws -> NIOAsyncChannel<Connection, Never> {
        do {
            return try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .bind(host: host, port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        if let tls {
                            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                        }
                        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                        return try Connection(wrappingChannelSynchronously: channel)
                    }
                }
        } catch let error as IOError {
            throw ValidationError("Can't listen on \(host):\(port): \(Errno(rawValue: error.errnoCode)).")
        } catch is SocketAddressError.UnknownHost {
            throw ValidationError("Can't listen on \(host):\(port): no such host is known.")
        }
    }

    private func serve(_ connection: Connection) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await connection.executeThenClose { requests, responses in
                    try await converse(requests, responses)
                }
            }
            group.addTask { try? await Task.sleep(for: Self.lifetime) }
            await group.next()
            group.cancelAll()
        }
    }

    private func converse(
        _ requests: NIOAsyncChannelInboundStream<HTTPServerRequestPart>,
        _ responses: NIOAsyncChannelOutboundWriter<HTTPServerResponsePart>
    ) async throws {
        var head: HTTPRequestHead?
        var body = ByteBuffer()
        for try await part in requests {
            switch part {
            case .head(let received): (head, body) = (received, ByteBuffer())
            case .body(var piece):
                body.writeBuffer(&piece)
                guard body.readableBytes <= AuditTrail.Witness.largestBody else {
                    return try await write((413, "text/plain; charset=utf-8", "the body is too long\n"), responses)
                }
            case .end:
                guard let received = head else { continue }
                try await write(await desk.answer(received, body), responses)
                guard received.isKeepAlive else { return }
                head = nil
            }
        }
    }

    private func write(
        _ answer: (status: Int, contentType: String, body: String),
        _ responses: NIOAsyncChannelOutboundWriter<HTTPServerResponsePart>
    ) async throws {
        let headers: HTTPHeaders = [
            "content-type": answer.contentType, "content-length": String(answer.body.utf8.count),
        ]
        let status = HTTPResponseStatus(statusCode: answer.status)
        try await responses.write(contentsOf: [
            .head(HTTPResponseHead(version: .http1_1, status: status, headers: headers)),
            .body(.byteBuffer(ByteBuffer(string: answer.body))), .end(nil),
        ])
    }
}

/// What a witness remembers, a file for each log in a directory that no other witness uses meanwhile.
private struct WitnessDirectory: AuditTrail.Witness.Store {
    private let path: String
    /// Holds the lock until the process ends.
    private let lock: Int32

    init(_ path: String) throws(FileError) {
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw FileError(path: path, problem: "can't be created: \(Errno(rawValue: errno))")
        }
        let lock = open("\(path)/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard lock >= 0 else { throw FileError(path: path, problem: "can't be used: \(Errno(rawValue: errno))") }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            throw FileError(path: path, problem: "is used by another witness")
        }
        (self.path, self.lock) = (path, lock)
    }

    func read(_ name: String) throws -> String? {
        let file = "\(path)/\(name)"
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        return try TextFile.read(file)
    }

    func write(_ name: String, _ note: String) throws {
        let temporary = "\(path)/.\(name).new"
        _ = unlink(temporary)
        try TextFile.create(note, at: temporary)
        guard rename(temporary, "\(path)/\(name)") == 0 else {
            throw FileError(path: temporary, problem: "can't be renamed: \(Errno(rawValue: errno))")
        }
        // The new name has to outlive a crash of the machine, too, before anything is cosigned.
        let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { _ = close(directory) }
        guard directory >= 0, fsync(directory) == 0 else {
            throw FileError(path: path, problem: "can't be synchronized: \(Errno(rawValue: errno))")
        }
    }
}

/// Where a witness is asked.
struct WitnessAddress: CustomStringConvertible {
    private let url: URL
    private let host: String

    init?(_ text: String) {
        guard let url = URL(string: text), let host = url.host(), !host.isEmpty,
            ["http", "https"].contains(url.scheme), url.query() == nil, url.fragment() == nil, url.user() == nil
        else { return nil }
        (self.url, self.host) = (url, host)
    }

    var description: String { url.absoluteString }

    /// - Parameter tls: for `https`.
    func addCheckpoint(_ body: String, _ tls: TLSConfiguration) async throws -> WitnessRequest.Answer {
        let isSecure = url.scheme == "https"
        let isAddress = host.contains(":") || host.allSatisfy { $0.isNumber || $0 == "." }
        let exchange = HTTPExchange(
            host: host, port: url.port ?? (isSecure ? 443 : 80),
            tls: isSecure ? try NIOSSLContext(configuration: tls) : nil,
            serverName: isAddress ? nil : host)
        let prefix = url.path().hasSuffix("/") ? String(url.path().dropLast()) : url.path()
        let (status, answer) = try await exchange(.POST, "\(prefix)/add-checkpoint", body: body, within: .seconds(15))
        return WitnessRequest.Answer(status: status, body: answer)
    }
}
