import ArgumentParser
import Customers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// `customerd health`: a probe that knows the settings, so that it finds the service behind TLS and on any port.
struct Health: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Ask the service on this machine whether it is ready.",
        discussion: "It reads the same settings as serve. Exit 0 if it is ready, 1 if it isn't, 3 if it doesn't answer."
    )

    @Flag(help: "Ask only whether it is alive.")
    var live = false
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await CommandRunner.run { settings in
            let path = live ? "/health/live" : "/health/ready"
            let status = try await Probe(settings).status(of: path, within: .seconds(2))
            let isHealthy = status == 200
            output.print(
                ["healthy": .bool(isHealthy), "status": .int(status)],
                else: isHealthy ? "The service is \(live ? "alive" : "ready")." : "\(path) answered \(status)."
            )
            if !isHealthy { throw ExitCode.failure }
        }
    }
}

/// One request to the service's own address.
private struct Probe {
    /// Where it may listen, to be tried one after another.
    let hosts: [String]
    let port: Int
    let tls: NIOSSLContext?

    init(_ settings: Settings) throws {
        // A server that listens everywhere listens on a loopback address; on which ones depends on the machine.
        hosts =
            switch settings.host {
            case "0.0.0.0", "": ["127.0.0.1"]
            case "::", "[::]": ["::1", "127.0.0.1"]
            default: [settings.host]
            }
        port = settings.port
        guard settings.tlsCertificate != nil else {
            tls = nil
            return
        }
        // The certificate names the service, not the loopback address. Nothing secret is sent.
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        tls = try NIOSSLContext(configuration: configuration)
    }

    func status(of path: String, within limit: Duration) async throws -> Int {
        do {
            return try await withThrowingTaskGroup(of: Int.self) { group in
                group.addTask { try await status(of: path, at: hosts) }
                group.addTask {
                    try await Task.sleep(for: limit)
                    throw Unreachable(reason: "it didn't answer within \(limit.components.seconds) s")
                }
                defer { group.cancelAll() }
                return try await group.next() ?? 0
            }
        } catch let error as Unreachable {
            throw HealthError(hosts: hosts, port: port, reason: error.reason)
        } catch {
            throw HealthError(hosts: hosts, port: port, reason: Self.reason(error))
        }
    }

    /// Without the addresses that were tried: the sentence names them already.
    private static func reason(_ error: any Error) -> String {
        let cause = (error as? NIOConnectionError)?.connectionErrors.first?.error ?? error
        return (cause as? IOError).map { String(cString: strerror($0.errnoCode)) } ?? "\(cause)"
    }

    private func status(of path: String, at hosts: [String]) async throws -> Int {
        for host in hosts.dropLast() {
            do {
                return try await status(of: path, at: host)
            } catch is NIOConnectionError {
                continue
            }
        }
        return try await status(of: path, at: hosts[hosts.count - 1])
    }

    private func status(of path: String, at host: String) async throws -> Int {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let tls { try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil)) }
                    try pipeline.addHTTPClientHandlers()
                    return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                        wrappingChannelSynchronously: channel)
                }
            }
        return try await channel.executeThenClose { responses, requests in
            let headers: HTTPHeaders = ["host": "localhost", "connection": "close"]
            let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path, headers: headers)
            try await requests.write(.head(head))
            try await requests.write(.end(nil))
            for try await case .head(let head) in responses { return Int(head.status.code) }
            throw Unreachable(reason: "it closed the connection")
        }
    }

    private struct Unreachable: Error {
        var reason: String
    }
}

/// No answer came from the service.
struct HealthError: Error, CustomStringConvertible {
    let hosts: [String]
    let port: Int
    let reason: String

    var description: String {
        let addresses = hosts.map { $0.contains(":") ? "[\($0)]:\(port)" : "\($0):\(port)" }
        return "The service can't be reached at \(addresses.joined(separator: " or ")): \(reason)."
    }
}
