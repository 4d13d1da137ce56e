import AuditTrail
import ArgumentParser
import Customers
import NIOHTTP1
import NIOSSL

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
            case "::": ["::1", "127.0.0.1"]
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
        var failure = HTTPExchange.Unreachable(reason: "no address is known")
        for host in hosts {
            var exchange = HTTPExchange(host: host, port: port, tls: tls)
            exchange.hostHeader = "localhost"
            do throws(HTTPExchange.Unreachable) {
                return try await exchange(.GET, path, within: limit).status
            } catch {
                failure = error
                // What listens there answers for all addresses.
                if error.isConnected { break }
            }
        }
        throw HealthError(hosts: hosts, port: port, reason: failure.reason)
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
