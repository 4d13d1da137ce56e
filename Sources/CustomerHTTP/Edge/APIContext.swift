import Customers
import Hummingbird
import NIOCore

/// What travels with a request through the routes.
struct APIContext: RequestContext {
    typealias Source = ApplicationRequestContextSource

    var coreContext: CoreRequestContextStorage
    /// Address of the socket's other end.
    let peer: IPAddress
    /// When the request arrived, to count its deadline from.
    let arrival = ContinuousClock.now
    /// What the edge read from the request; set by ``EdgeMiddleware``.
    var edge: RequestEdge?

    /// The customer that the path names, if it is a UUID.
    var customerID: UUID? {
        parameters.get("id").flatMap { UUID(strict: $0) }
    }

    init(source: Source) {
        self.coreContext = CoreRequestContextStorage(source: source)
        self.peer = source.channel.remoteAddress.flatMap(IPAddress.init) ?? .loopback
    }
}
