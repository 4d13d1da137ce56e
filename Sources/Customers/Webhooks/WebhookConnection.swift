import LibPQ
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Why a receiver's answer isn't known.
enum WebhookFailure: Error, Sendable, Hashable {
    case invalidURL
    case unopenedSecret
    case unresolved
    case forbidden(IPAddress)
    case unreachable
    case tls
    case late
    case closed
    case malformedAnswer
    case longAnswer
    /// This instance stops.
    case stopped

    /// For the history of deliveries.
    var message: String {
        switch self {
        case .invalidURL: "the URL is no longer allowed"
        case .unopenedSecret: "no key of CUSTOMERD_SECRETS_KEY decrypts the secret"
        case .unresolved: "the name has no address"
        // Without the address: who makes webhooks isn't told what the names of the operator's network lead to.
        case .forbidden: "the host has an address that isn't public"
        case .unreachable: "the connection failed"
        case .tls: "the TLS handshake failed"
        case .late: "there was no whole answer within \(WebhookSender.timeout.components.seconds) s"
        case .closed: "the connection ended before the answer was whole"
        case .malformedAnswer: "the answer isn't HTTP"
        case .longAnswer: "the headers of the answer are longer than \(AnswerLimit.mostBytes / 1024) KiB"
        case .stopped: "the service stopped"
        }
    }
}

/// A connection to a receiver. The address was checked, and is the one that is connected to: a name that changes its mind in
/// between makes no difference. No redirect is followed, and no proxy is used.
struct WebhookConnection: Sendable {
    struct Reply: Sendable {
        let status: Int
        /// `Retry-After`, as it came.
        let retryAfter: String?
        /// Whether the connection can take another request.
        let isReusable: Bool
    }

    /// Addresses of a name, by a look-up that blocks.
    typealias LookUp = @Sendable (_ host: String, _ port: Int) -> [SocketAddress]

    private static let mostAddresses = 4

    private let channel: any Channel
    /// Why it ended, if it did.
    private let failure: NIOLockedValueBox<WebhookFailure?>

    /// - Parameter tls: what https is spoken with.
    static func open(
        _ url: WebhookURL, _ addresses: WebhookAddresses, lookUp: @escaping LookUp, tls: NIOSSLContext,
        until deadline: ContinuousClock.Instant
    ) async throws(WebhookFailure) -> WebhookConnection {
        let found = await resolve(url, lookUp, until: deadline)
        guard !found.isEmpty else { throw ContinuousClock.now < deadline ? .unresolved : .late }
        // All of them, not those that would be tried: a name that leads inside at times isn't to be trusted.
        for address in found {
            guard let ip = IPAddress(address) else { throw .unresolved }
            guard addresses.permits(ip, isSecure: url.isSecure) else { throw .forbidden(ip) }
        }
        for (index, address) in found.prefix(mostAddresses).enumerated() {
            // The last one has all the time that is left.
            let rest = deadline - .now
            guard rest > .zero else { throw .late }
            let time = index == found.count - 1 ? rest : min(rest, .seconds(4))
            let failure = NIOLockedValueBox<WebhookFailure?>(nil)
            if let channel = try? await connect(to: address, url, tls, failure, within: time) {
                return WebhookConnection(channel: channel, failure: failure)
            }
        }
        throw ContinuousClock.now < deadline ? .unreachable : .late
    }

    private static func connect(
        to address: SocketAddress, _ url: WebhookURL, _ tls: NIOSSLContext,
        _ failure: NIOLockedValueBox<WebhookFailure?>, within time: Duration
    ) async throws -> any Channel {
        try await ClientBootstrap(group: WebhookLoop.shared.eventLoop)
            .connectTimeout(.init(time))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if url.isSecure {
                        // Without a name the certificate must hold the address.
                        let name = url.address == nil ? url.host : nil
                        try pipeline.addHandler(try NIOSSLClientHandler(context: tls, serverHostname: name))
                    }
                    try pipeline.addHandler(AnswerLimit())
                    try pipeline.addHTTPClientHandlers()
                    try pipeline.addHandler(WebhookAnswerHandler(failure))
                }
            }
            .connect(to: address)
            .get()
    }

    /// Posts a body, and waits for the whole answer.
    func post(
        _ body: String, to url: WebhookURL, headers: HTTPHeaders, until deadline: ContinuousClock.Instant
    ) async throws(WebhookFailure) -> Reply {
        var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: url.target, headers: headers)
        head.headers.add(name: "host", value: url.authority)
        head.headers.add(name: "content-length", value: String(body.utf8.count))
        let answer = channel.eventLoop.makePromise(of: Reply.self)
        let request = WebhookAnswerHandler.Request(
            head: head, body: ByteBuffer(string: body), answer: answer, time: .init(max(deadline - .now, .zero)))
        let channel = channel
        // A channel that is closed takes nothing, so its handler doesn't answer; otherwise the second failure is none.
        let failure = failure
        channel.writeAndFlush(request).whenFailure { error in
            answer.fail(failure.withLockedValue { $0 } ?? WebhookFailure(ending: error))
        }
        do {
            return try await withTaskCancellationHandler {
                try await answer.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            throw Task.isCancelled ? .stopped : error as? WebhookFailure ?? .closed
        }
    }

    func close() {
        channel.close(promise: nil)
    }

    // MARK: - Names

    /// The addresses of a host, looked up on a thread of its own.
    private static func resolve(
        _ url: WebhookURL, _ lookUp: @escaping LookUp, until deadline: ContinuousClock.Instant
    ) async -> [SocketAddress] {
        if url.address != nil { return (try? [SocketAddress(ipAddress: url.host, port: url.port)]) ?? [] }
        let found = OneShot<[SocketAddress]>()
        BlockingWork.start { found.set(lookUp(url.host, url.port)) }
        found.set([], at: deadline)
        return await found.value
    }

    /// Asks the system's resolver.
    static func lookUp(_ host: String, port: Int) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICSERV
        #if canImport(Glibc)
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        #else
            hints.ai_socktype = SOCK_STREAM
        #endif
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [SocketAddress] = []
        var next = list
        while let info = next?.pointee {
            next = info.ai_next
            switch info.ai_family {
            case AF_INET:
                info.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee))
                }
            case AF_INET6:
                info.ai_addr.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    addresses.append(SocketAddress($0.pointee))
                }
            default: break
            }
        }
        return addresses
    }
}

/// Lets no more of an answer through than is of interest, its headers included, whatever the receiver sends.
private final class AnswerLimit: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer

    /// What tells that there was more.
    struct Exceeded: Sendable {}

    static let mostBytes = 64 * 1024

    private var left = mostBytes

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        left = Self.mostBytes
        context.write(data, promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        guard part.readableBytes > left else {
            left -= part.readableBytes
            return context.fireChannelRead(data)
        }
        if let rest = part.readSlice(length: left), left > 0 { context.fireChannelRead(wrapInboundOut(rest)) }
        left = 0
        context.fireUserInboundEventTriggered(Exceeded())
    }
}

/// One request at a time, and its answer, whose body is thrown away.
private final class WebhookAnswerHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = Request
    typealias OutboundOut = HTTPClientRequestPart

    struct Request: Sendable {
        let head: HTTPRequestHead
        let body: ByteBuffer
        let answer: EventLoopPromise<WebhookConnection.Reply>
        let time: TimeAmount
    }

    /// Why the connection ended, for a request that comes too late to hear of it.
    private let failure: NIOLockedValueBox<WebhookFailure?>
    private var answer: EventLoopPromise<WebhookConnection.Reply>?
    private var timer: Scheduled<Void>?
    private var head: HTTPResponseHead?

    init(_ failure: NIOLockedValueBox<WebhookFailure?>) {
        self.failure = failure
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let request = unwrapOutboundIn(data)
        answer = request.answer
        head = nil
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: request.time) { [self] in
            fail(.late, context)
        }
        context.write(wrapOutboundOut(.head(request.head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(request.body))), promise: nil)
        context.write(wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard answer != nil else { return context.close(promise: nil) }
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break
        case .end: finish(context, isReusable: head?.isKeepAlive ?? false)
        }
    }

    /// The rest of a long answer is of no interest, and the connection ends.
    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is AnswerLimit.Exceeded else { return context.fireUserInboundEventTriggered(event) }
        if head == nil { fail(.longAnswer, context) } else { finish(context, isReusable: false) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(WebhookFailure(ending: error), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.closed, context)
        context.fireChannelInactive()
    }

    private func finish(_ context: ChannelHandlerContext, isReusable: Bool) {
        guard let answer, let head else { return fail(.malformedAnswer, context) }
        end()
        answer.succeed(
            WebhookConnection.Reply(
                status: Int(head.status.code), retryAfter: head.headers.first(name: "retry-after"),
                isReusable: isReusable))
        if !isReusable { context.close(promise: nil) }
    }

    private func fail(_ failure: WebhookFailure, _ context: ChannelHandlerContext) {
        self.failure.withLockedValue { $0 = $0 ?? failure }
        let answer = answer
        end()
        answer?.fail(failure)
        context.close(promise: nil)
    }

    private func end() {
        timer?.cancel()
        (answer, timer) = (nil, nil)
    }
}

extension WebhookFailure {
    /// Why a connection ended.
    fileprivate init(ending error: any Error) {
        self =
            switch error {
            // The end of a connection, without the farewell that few send.
            case NIOSSLError.uncleanShutdown: .closed
            case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError: .tls
            case HTTPParserError.invalidEOFState: .closed
            case HTTPParserError.headerOverflow: .longAnswer
            case is HTTPParserError: .malformedAnswer
            default: .closed
            }
    }
}
