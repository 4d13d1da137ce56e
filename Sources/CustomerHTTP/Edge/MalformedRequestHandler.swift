import Customers
import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Answers what isn't HTTP, or too much of it, in the form of every other error, and closes the connection.
///
/// It stands behind the decoder: 431 for headers over the limit, 400 for the rest (RFC 6585; RFC 9112, section 2.2).
final class MalformedRequestHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    /// Requests whose answer isn't written yet.
    private var unanswered = 0
    /// A request's head has come, and its body hasn't ended.
    private var isInBody = false
    private var hasFailed = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasFailed else { return }
        switch unwrapInboundIn(data) {
        case .head:
            unanswered += 1
            isInBody = true
        case .body: break
        case .end: isInBody = false
        }
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !hasFailed, error is HTTPParserError || !(error is IOError) && !(error is ChannelError) else {
            context.fireErrorCaught(error)
            return
        }
        hasFailed = true
        if unanswered > 0 {
            // Whoever reads that request's body learns of it and answers.
            context.fireErrorCaught(error)
        } else if isInBody {
            // Answered before its body came: a second answer would be taken for that of another request.
            context.close(promise: nil)
        } else {
            write(answer(to: error), context)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = unwrapOutboundIn(data) else {
            context.write(data, promise: promise)
            return
        }
        unanswered -= 1
        guard hasFailed, unanswered <= 0 else {
            context.write(data, promise: promise)
            return
        }
        context.writeAndFlush(data, promise: promise)
        context.close(promise: nil)
    }

    private func answer(to error: any Error) -> Answer {
        if case .headerOverflow? = error as? HTTPParserError { return APIError.headersTooLarge.answer }
        return APIError.malformedRequest.answer
    }

    private func write(_ answer: Answer, _ context: ChannelHandlerContext) {
        let head = HTTPResponse(
            status: .init(code: answer.status),
            headerFields: [
                .contentType: "application/json", .contentLength: String(answer.body.utf8.count), .connection: "close",
                // What the client sent can't be read any more.
                .requestID: UUID.random().text,
            ]
        )
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(ByteBuffer(string: answer.body))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.close(promise: nil)
    }
}
