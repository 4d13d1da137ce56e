import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// A server on 127.0.0.1 to which webhooks are delivered, and which does to each delivery what a test wants.
public final class WebhookReceiver: Sendable {
    /// One delivery, as it came.
    public struct Delivery: Sendable {
        public let id: String
        public let path: String
        public let body: String
        fileprivate let headers: HTTPHeaders
        public let arrival: ContinuousClock.Instant

        /// A member of the event.
        public subscript(_ member: String) -> String? {
            let object = (try? JSONSerialization.jsonObject(with: Data(body.utf8))) as? [String: Any]
            return object?[member] as? String ?? (object?[member] as? NSNumber)?.stringValue
        }

        /// A header.
        public func header(_ name: String) -> String? { headers.first(name: name) }

        public var seq: Int? { self["seq"].flatMap { Int($0) } }
        public var signatures: [String] {
            headers.first(name: "webhook-signature")?.split(separator: " ").map(String.init) ?? []
        }
    }

    /// What is done to a delivery.
    public enum Reaction: Sendable {
        case answer(Int, headers: [(String, String)] = [])
        /// Answers at once, with a body of so many bytes.
        case flood(bytes: Int)
        /// Answers with so many bytes of headers that it never comes to the body.
        case headers(bytes: Int)
        /// The same after a while.
        case later(Duration, Int)
        /// Never answers.
        case silence
        /// Ends the connection without an answer.
        case hangUp
        /// Ends the connection in the middle of an answer of 200.
        case breakOff
    }

    private typealias React = @Sendable (Delivery) -> Reaction

    public let port: Int
    private let bind: @Sendable (_ port: Int) async throws -> any Channel
    private let channel: NIOLockedValueBox<any Channel>
    private let connections: NIOLockedValueBox<[any Channel]>
    private let state: NIOLockedValueBox<(deliveries: [Delivery], react: React)>

    /// - Parameters:
    ///   - port: a free one when nil.
    ///   - certificate: what https is spoken with; http when nil.
    public init(
        port: Int? = nil, certificate: SelfSignedCertificate? = nil,
        react: @escaping @Sendable (Delivery) -> Reaction = { _ in .answer(200) }
    ) async throws {
        let state = NIOLockedValueBox<(deliveries: [Delivery], react: React)>((deliveries: [], react: react))
        let connections = NIOLockedValueBox<[any Channel]>([])
        let tls = try certificate.map { certificate in
            try NIOSSLContext(
                configuration: .makeServerConfiguration(
                    certificateChain: try NIOSSLCertificate.fromPEMFile(certificate.certificate).map {
                        .certificate($0)
                    },
                    privateKey: .privateKey(try NIOSSLPrivateKey(file: certificate.key, format: .pem))))
        }
        bind = { port in
            try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        connections.withLockedValue { $0.append(channel) }
                        let pipeline = channel.pipeline.syncOperations
                        if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
                        try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false)
                        try pipeline.addHandler(
                            ReceivingHandler { delivery in
                                let react = state.withLockedValue { state in
                                    state.deliveries.append(delivery)
                                    return state.react
                                }
                                return react(delivery)
                            })
                    }
                }
                .bind(host: "127.0.0.1", port: port)
                .get()
        }
        // Not one that the kernel chooses: it would give it to an outgoing connection once this stops listening.
        let channel = try await bind(port ?? RunningService.freePort())
        self.channel = NIOLockedValueBox(channel)
        self.state = state
        self.connections = connections
        self.port = channel.localAddress?.port ?? 0
    }

    deinit {
        stop()
    }

    /// Everything that has come.
    public var deliveries: [Delivery] { state.withLockedValue { $0.deliveries } }

    public func react(_ react: @escaping @Sendable (Delivery) -> Reaction) {
        state.withLockedValue { $0.react = react }
    }

    /// Listens again after ``stop()``.
    public func listen() async throws {
        // Until then its port is taken.
        try await channel.withLockedValue { $0.closeFuture }.get()
        let channel = try await bind(port)
        self.channel.withLockedValue { $0 = channel }
    }

    /// Hangs up, and listens no more.
    public func stop() {
        channel.withLockedValue { $0.close(promise: nil) }
        for connection in connections.withLockedValue({ $0 }) { connection.close(promise: nil) }
    }
}

private final class ReceivingHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let react: @Sendable (WebhookReceiver.Delivery) -> WebhookReceiver.Reaction
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()

    init(_ react: @escaping @Sendable (WebhookReceiver.Delivery) -> WebhookReceiver.Reaction) {
        self.react = react
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            body.clear()
        case .body(var part): body.writeBuffer(&part)
        case .end:
            guard let head else { return }
            let delivery = WebhookReceiver.Delivery(
                id: head.headers.first(name: "webhook-id") ?? "", path: head.uri, body: String(buffer: body),
                headers: head.headers, arrival: .now)
            carryOut(react(delivery), context)
        }
    }

    private func carryOut(_ reaction: WebhookReceiver.Reaction, _ context: ChannelHandlerContext) {
        switch reaction {
        // A 204 must not have a body, but some receivers send one.
        case .answer(let status, let headers): answer(context, status, headers, body: "thank you")
        case .flood(let bytes): answer(context, 200, [], body: String(repeating: "x", count: bytes))
        case .headers(let bytes):
            let header = ("x-flood", String(repeating: "x", count: 1000))
            answer(context, 200, Array(repeating: header, count: bytes / 1000), body: "")
        case .later(let time, let status):
            context.eventLoop.assumeIsolated().scheduleTask(in: .init(time)) { [self] in
                answer(context, status, [], body: "")
            }
        case .silence: break
        case .hangUp: context.close(promise: nil)
        case .breakOff:
            write(context, 200, ["content-length": "1000"])
            context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "half")))))
                .whenComplete { [channel = context.channel] _ in channel.close(promise: nil) }
        }
    }

    private func answer(
        _ context: ChannelHandlerContext, _ status: Int, _ headers: [(String, String)], body: String
    ) {
        write(context, status, HTTPHeaders(headers + [("content-length", String(body.utf8.count))]))
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    }

    private func write(_ context: ChannelHandlerContext, _ status: Int, _ headers: HTTPHeaders) {
        let head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
