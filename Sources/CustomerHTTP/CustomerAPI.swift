public import Customers
import HTTPTypes
public import Hummingbird
public import LibPQ
import NIOCore

/// The HTTP interface as a whole: its routes, and the server that carries them.
public struct CustomerAPI: Sendable {
    /// Bytes of all headers of a request together; more is a 431.
    private static let largestHeaders = 32 * 1024
    /// Fields of a request; more is a 431.
    private static let mostHeaders = 200

    private let routes: [Route]
    private let proxies: TrustedProxies
    private let limits: Limits

    /// - Parameter metrics: the metrics in Prometheus' text format.
    public init(
        deletion: DeletionUseCase, pool: ConnectionPool, limits: Limits, proxies: TrustedProxies,
        metrics: @escaping @Sendable () -> String
    ) {
        self.routes =
            CustomerRoutes(deletion: deletion, limits: limits).routes
            + OperationRoutes(pool: pool, metrics: metrics).routes
        self.proxies = proxies
        self.limits = limits
    }

    /// What answers requests.
    public func responder() -> some HTTPResponder<some Hummingbird.RequestContext> {
        let router = Router(context: APIContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: EdgeMiddleware(proxies: proxies, paths: PathTable(routes)))
        for route in routes {
            router.on(RouterPath(route.path), method: route.method, use: route.handler)
        }
        return router.buildResponder()
    }

    /// How connections are read: limits on headers, and no patience with peers that stop in the middle.
    public var channel: HTTP1Channel.Configuration {
        HTTP1Channel.Configuration(
            additionalChannelHandlers: [MalformedRequestHandler()],
            idleTimeout: .seconds(60),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: Self.largestHeaders,
                maxHeaderListSize: Self.largestHeaders,
                maxHeaderFieldCount: Self.mostHeaders
            )
        )
    }
}
