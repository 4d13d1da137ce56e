import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// A client's connection: what its bytes pass through on the way to the routes, and the answers on the way back.
///
/// Hummingbird's own would put our handlers behind the translation to types that know neither versions nor how often
/// `Host` was given.
struct APIChannel: HTTPChannelHandler {
    /// Bytes of all headers of a request together; more is a 431.
    private static let largestHeaders = 32 * 1024
    /// Fields of a request; more is a 431.
    private static let mostHeaders = 200

    let responder: Responder
    let limits: ClientLimits
    let isSecure: Bool
    let roster: ConnectionRoster

    func setup(
        channel: any Channel, logger: Logger
    ) -> EventLoopFuture<NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>> {
        channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            var decoder = NIOHTTPDecoderLimitConfiguration()
            decoder.maxHeaderFieldSize = Self.largestHeaders
            decoder.maxHeaderListSize = Self.largestHeaders
            decoder.maxHeaderFieldCount = Self.mostHeaders
            try pipeline.configureHTTPServerPipeline(
                // Requests that come before the last one is answered wait in the NIOAsyncChannel.
                withPipeliningAssistance: false,
                withErrorHandling: false,
                // The types of swift-http-types can't hold what isn't valid.
                withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(),
                withDecoderLimitConfiguration: decoder
            )
            try pipeline.addHandlers([
                ClientTurnHandler(limits: limits, isSecure: isSecure, roster: roster), ExchangeHandler(),
                HTTP1ToHTTPServerCodec(secure: isSecure),
                // Ends the connection after a graceful shutdown. Its idle timeout doesn't see a client that takes no
                // answers; ClientTurnHandler does.
                HTTPConnectionStateHandler(idleTimeout: nil, logger: logger),
            ])
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
    }

    func handle(value: NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>, logger: Logger) async {
        await handleHTTP(asyncChannel: value, logger: logger)
    }
}
