import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOTLS

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// One request on a connection of its own: what commands ask of a service or of a witness.
struct HTTPExchange {
    /// No answer came.
    struct Unreachable: Error, CustomStringConvertible {
        let reason: String
        /// Whether there was a connection at least.
        var isConnected = true

        var description: String { reason }
    }

    let host: String
    let port: Int
    let tls: NIOSSLContext?
    /// The name for which the server's certificate has to be valid; nil if it isn't verified by name.
    var serverName: String?
    var hostHeader: String?

    /// Bytes of an answer that are read.
    private static let largestAnswer = 64 << 10

    init(host: String, port: Int, tls: NIOSSLContext?, serverName: String? = nil) {
        (self.host, self.port, self.tls, self.serverName) = (host, port, tls, serverName)
    }

    func callAsFunction(
        _ method: HTTPMethod, _ path: String, body: String? = nil, within limit: Duration
    ) async throws(Unreachable) -> (status: Int, body: String) {
        do {
            return try await withThrowingTaskGroup(of: (status: Int, body: String).self) { group in
                group.addTask { try await answer(method, path, body) }
                group.addTask {
                    try await Task.sleep(for: limit)
                    throw Unreachable(reason: "it didn't answer within \(limit.components.seconds) s")
                }
                defer { group.cancelAll() }
                guard let answer = try await group.next() else { throw Unreachable(reason: "it didn't answer") }
                return answer
            }
        } catch let error as Unreachable {
            throw error
        } catch {
            throw Unreachable(reason: Self.reason(error), isConnected: !(error is NIOConnectionError))
        }
    }

    /// Without the addresses that were tried: the sentence names them already.
    private static func reason(_ error: any Error) -> String {
        let cause = (error as? NIOConnectionError)?.connectionErrors.first?.error ?? error
        switch cause {
        case let error as IOError: return String(cString: strerror(error.errnoCode))
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return "its certificate is for another name"
        // BoringSSL tells the reason in its text only.
        case is NIOSSLError where "\(cause)".contains("CERTIFICATE_VERIFY_FAILED"):
            return "its certificate isn't trusted"
        case is NIOSSLError, is BoringSSLError: return "no connection with TLS comes about"
        default: return "\(cause)"
        }
    }

    private func answer(_ method: HTTPMethod, _ path: String, _ body: String?) async throws -> (
        status: Int, body: String
    ) {
        let (channel, handshake) = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: host, port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    var handshake: EventLoopFuture<Void>?
                    if let tls {
                        try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: serverName))
                        let handler = HandshakeHandler(channel.eventLoop)
                        try pipeline.addHandler(handler)
                        handshake = handler.completed
                    }
                    try pipeline.addHTTPClientHandlers()
                    let wrapped = try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
                        wrappingChannelSynchronously: channel)
                    return (wrapped, handshake)
                }
            }
        return try await channel.executeThenClose { responses, requests in
            try await handshake?.get()
            var headers: HTTPHeaders = ["host": hostHeader ?? host, "connection": "close"]
            if let body {
                headers.add(name: "content-type", value: "text/plain; charset=utf-8")
                headers.add(name: "content-length", value: String(body.utf8.count))
            }
            try await requests.write(
                .head(HTTPRequestHead(version: .http1_1, method: method, uri: path, headers: headers)))
            if let body { try await requests.write(.body(.byteBuffer(ByteBuffer(string: body)))) }
            try await requests.write(.end(nil))
            var status: Int?
            var answer = ByteBuffer()
            for try await part in responses {
                switch part {
                case .head(let head): status = Int(head.status.code)
                case .body(var piece):
                    answer.writeBuffer(&piece)
                    guard answer.readableBytes <= Self.largestAnswer else {
                        throw Unreachable(reason: "its answer is too long")
                    }
                case .end:
                    guard let status else { continue }
                    return (status, String(buffer: answer))
                }
            }
            throw Unreachable(reason: "it closed the connection")
        }
    }
}

/// Tells how the handshake ended. A write into a connection whose handshake has failed says only that it is closed.
private final class HandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = NIOAny

    private let promise: EventLoopPromise<Void>

    init(_ eventLoop: any EventLoop) {
        promise = eventLoop.makePromise()
    }

    var completed: EventLoopFuture<Void> { promise.futureResult }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { promise.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.fireErrorCaught(error)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        promise.fail(ChannelError.ioOnClosedChannel)
    }
}
