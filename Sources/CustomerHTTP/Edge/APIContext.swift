import AuditTrail
import Customers
import Hummingbird
import NIOCore

/// What travels with a request through the routes.
struct APIContext: RequestContext {
    typealias Source = ApplicationRequestContextSource

    var coreContext: CoreRequestContextStorage
    /// Address of the socket's other end.
    let peer: IPAddress
    private let channel: any Channel
    /// When the request arrived, to count its deadline from.
    let arrival = ContinuousClock.now
    /// What the edge read from the request; set by ``EdgeMiddleware``.
    var edge: RequestEdge?

    /// The `{id}` of the path, if it is a UUID.
    var id: UUID? {
        parameters.get("id").flatMap { UUID(strict: $0) }
    }

    /// Tells a client that waits for it to send the body (RFC 9110, section 10.1.1), unless that is too large, which is
    /// answered at once.
    func inviteBody(of request: Request, upTo limit: Int) {
        guard request.headers[.expect] != nil, !request.announcesBody(over: limit) else { return }
        channel.triggerUserOutboundEvent(ExchangeHandler.BodyInvitation(), promise: nil)
    }

    init(source: Source) {
        self.coreContext = CoreRequestContextStorage(source: source)
        self.channel = source.channel
        self.peer = source.channel.remoteAddress.flatMap(IPAddress.init) ?? .loopback
    }
}
