public import Customers
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
public import Logging
import NIOCertificateReloading
import NIOSSL
public import ServiceLifecycle

/// The HTTP interface as a whole: its routes, and the server that carries them.
public struct CustomerAPI: Sendable {
    /// For the header `Server`.
    static let serverName = "customerd"

    let routes: [Route]
    private let proxies: TrustedProxies

    /// - Parameters:
    ///   - isReady: for `/health/ready`; it must not wait for requests.
    ///   - metrics: the metrics in Prometheus' text format.
    public init(
        read: Read, write: Write, operations: Operations, limits: Limits, proxies: TrustedProxies,
        isReady: @escaping @Sendable () async -> Bool, metrics: @escaping @Sendable () -> String
    ) {
        self.routes =
            APIRoutes(read: read, write: write, operations: operations, limits: limits).routes
            + OperatorRoutes(isReady: isReady, metrics: metrics).routes
            + ConsoleRoutes().routes
        self.proxies = proxies
    }

    /// The server, after what reads its certificate again: it stops accepting when asked to, and finishes what runs.
    ///
    /// - Throws: ``CertificateError`` when the certificate or its key can't be used.
    public func services(address: ListenAddress, limits: ClientLimits, logger: Logger) throws -> [any Service] {
        let router = Router(context: APIContext.self)
        router.add(middleware: EdgeMiddleware(proxies: proxies, paths: PathTable(routes)))
        for route in routes {
            router.on(RouterPath(route.path), method: route.method) { request, context in
                if route.takesBody { context.inviteBody(of: request) }
                return try await route.handler(request, context)
            }
            guard route.answersHead else { continue }
            router.head(RouterPath(route.path)) { request, context in try await route.handler(request, context) }
        }
        let roster = ConnectionRoster(limit: limits.connections, logger: logger)
        var server = HTTPServerBuilder { responder in
            APIChannel(responder: responder, limits: limits, isSecure: address.tls != nil, roster: roster)
        }
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
                serverName: Self.serverName,
                backlog: 1024
            ),
            logger: logger
        )
        let listening = ListeningServer(server: application, address: address)
        return reloader.map { [$0, listening] } ?? [listening]
    }
}
