public import Customers
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import LibPQ
public import Logging
import NIOCore
import NIOCertificateReloading
import NIOSSL
public import ServiceLifecycle

/// The HTTP interface as a whole: its routes, and the server that carries them.
public struct CustomerAPI: Sendable {
    /// Bytes of all headers of a request together; more is a 431.
    private static let largestHeaders = 32 * 1024
    /// Fields of a request; more is a 431.
    private static let mostHeaders = 200

    let routes: [Route]
    private let proxies: TrustedProxies

    /// - Parameter metrics: the metrics in Prometheus' text format.
    public init(
        write: Write, writes: Writes, customers: CustomerQueries, audit: AuditQueries, pool: ConnectionPool,
        limits: Limits, proxies: TrustedProxies, metrics: @escaping @Sendable () -> String
    ) {
        self.routes =
            WriteRoutes(write: write, operations: writes.operations, limits: limits).routes
            + ReadRoutes(customers: customers, limits: limits).routes
            + AuditRoutes(audit: audit, limits: limits).routes
            + OperationRoutes(pool: pool, metrics: metrics).routes
            + ConsoleRoutes().routes
        self.proxies = proxies
    }

    /// The server, after what reads its certificate again: it stops accepting when asked to, and finishes what runs.
    ///
    /// - Throws: ``CertificateError`` when the certificate or its key can't be used.
    public func services(address: ListenAddress, limits: ClientLimits, logger: Logger) throws -> [any Service] {
        let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: EdgeMiddleware(proxies: proxies, paths: PathTable(routes)))
        for route in routes {
            router.on(RouterPath(route.path), method: route.method, use: route.handler)
        }
        var server = HTTPServerBuilder.http1(configuration: channel(limits, isSecure: address.tls != nil, logger))
        var reloader: TimedCertificateReloader?
        if let files = address.tls {
            var configuration = try files.configuration()
            let certificates = files.reloader(logger)
            configuration.setCertificateReloader(certificates)
            server = try .tls(server, tlsConfiguration: configuration)
            reloader = certificates
        }
        let application = Application(
            router: router,
            server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(address.host, port: address.port),
                serverName: "customerd",
                backlog: 1024
            ),
            logger: logger
        )
        let listening = ListeningServer(server: application, address: address)
        return reloader.map { [$0, listening] } ?? [listening]
    }

    private func channel(
        _ limits: ClientLimits, isSecure: Bool, _ logger: Logger
    ) -> HTTP1Channel.Configuration {
        let roster = ConnectionRoster(limit: limits.connections, logger: logger)
        return HTTP1Channel.Configuration(
            additionalChannelHandlers: [
                ClientTurnHandler(limits: limits, isSecure: isSecure, roster: roster), MalformedRequestHandler(),
            ],
            // Hummingbird's own doesn't see a client that takes no answers; ClientTurnHandler does.
            idleTimeout: nil,
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: Self.largestHeaders,
                maxHeaderListSize: Self.largestHeaders,
                maxHeaderFieldCount: Self.mostHeaders
            )
        )
    }
}
