import AuditTrail
import Customers
import DequeModule
import NIOCore
import NIOHTTP1

/// Decides for a connection which requests are accepted, what each answer says about the connection, and when it ends.
/// What isn't HTTP, or exceeds a limit, is answered in the form of every other error.
///
/// It stands between the decoder and the types that know no versions: 431 for headers over the limit (RFC 6585), 417
/// for an unknown expectation, 400 for the rest (RFC 9112, section 2.2).
final class ExchangeHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    /// Triggered when the route of a request is known and takes its body.
    struct BodyInvitation: Sendable {}

    private struct Exchange {
        enum Expectation {
            /// Nothing is expected, or not any more.
            case none
            /// The client may wait for `100 Continue`.
            case pending
            /// It gets that as soon as earlier requests are answered.
            case invited
        }

        let isOld: Bool
        var isPersistent: Bool
        var expectation: Expectation
    }

    private let latin1: Latin1Headers
    /// Requests whose answer isn't written yet, the oldest first.
    private var exchanges = Deque<Exchange>()
    /// A request's head was accepted, and its body hasn't ended.
    private var isInBody = false
    /// Nothing that arrives from now on belongs to another request.
    private var isLast = false
    /// What is still to be said before the connection ends.
    private var refusal: (answer: Answer, requestID: String)?

    init(latin1: Latin1Headers) {
        self.latin1 = latin1
    }

    // MARK: - Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(var head):
            guard !isLast else { return }
            head.headers = latin1.restore(head.headers)
            do {
                let strict = try StrictHead(head)
                isInBody = true
                isLast = !strict.isPersistent
                exchanges.append(
                    Exchange(
                        isOld: head.version == .http1_0, isPersistent: strict.isPersistent,
                        expectation: strict.expectsContinue ? .pending : .none))
                context.fireChannelRead(wrapInboundOut(.head(strict.head)))
            } catch {
                let requestID = RequestEdge.requestID(head.headers["x-request-id"])
                refuse(error.answer, requestID, context)
            }
        case .body:
            guard isInBody else { return }
            meetExpectation()
            context.fireChannelRead(data)
        case .end:
            latin1.requestEnded()
            guard isInBody else { return }
            meetExpectation()
            isInBody = false
            context.fireChannelRead(data)
        }
    }

    /// A client that sends the body needs no invitation any more.
    private func meetExpectation() {
        guard !exchanges.isEmpty else { return }
        exchanges[exchanges.count - 1].expectation = .none
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is HTTPParserError || !(error is IOError) && !(error is ChannelError) else {
            context.fireErrorCaught(error)
            return
        }
        if isInBody {
            isInBody = false
            isLast = true
            // Answered before its body came: a second answer would be taken for that of another request.
            guard !exchanges.isEmpty else { return closeOutput(context) }
            exchanges[exchanges.count - 1].isPersistent = false
            // What reads that request's body learns of it and answers.
            context.fireErrorCaught(error)
        } else if !isLast {
            refuse(Self.answer(to: error), UUID.random().text, context)
        }
    }

    private static func answer(to error: any Error) -> Answer {
        if case .headerOverflow? = error as? HTTPParserError { return APIError.headersTooLarge.answer }
        return APIError.malformedRequest.answer
    }

    private func refuse(_ answer: Answer, _ requestID: String, _ context: ChannelHandlerContext) {
        isLast = true
        refusal = (answer, requestID)
        writeRefusal(context)
    }

    // MARK: - Answers

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is BodyInvitation else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        // Only the newest request can be one whose body hasn't come.
        if let newest = exchanges.last, newest.expectation == .pending {
            exchanges[exchanges.count - 1].expectation = .invited
            writeContinue(context)
        }
        promise?.succeed()
    }

    private func writeContinue(_ context: ChannelHandlerContext) {
        guard exchanges.count == 1, exchanges[exchanges.startIndex].expectation == .invited else { return }
        exchanges[exchanges.startIndex].expectation = .none
        context.writeAndFlush(wrapOutboundOut(.head(.init(version: .http1_1, status: .continue))), promise: nil)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard let exchange = exchanges.first else {
            // Of a request that has been answered already.
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(let head):
            context.write(wrapOutboundOut(.head(completed(head, exchange))), promise: promise)
        case .body:
            context.write(data, promise: promise)
        case .end:
            exchanges.removeFirst()
            guard exchange.isPersistent else {
                context.writeAndFlush(data, promise: promise)
                closeOutput(context)
                return
            }
            context.write(data, promise: promise)
            writeContinue(context)
            writeRefusal(context)
        }
    }

    /// The head with what it has to say about the connection.
    private func completed(_ head: HTTPResponseHead, _ exchange: Exchange) -> HTTPResponseHead {
        var (head, exchange) = (head, exchange)
        // Answered without the body, which may or may not come: what follows can't be told from it.
        if exchange.expectation != .none { exchange.isPersistent = false }
        // HTTP/1.0 knows no chunks, so the end of the connection is the end of the body.
        if exchange.isOld, head.status.mayHaveResponseBody, !head.headers.contains(name: "content-length") {
            head.version = .http1_0
            exchange.isPersistent = false
        }
        if !exchange.isPersistent {
            head.headers.replaceOrAdd(name: "connection", value: "close")
            isLast = true
            if exchange.expectation != .none { isInBody = false }
        } else if exchange.isOld {
            head.headers.replaceOrAdd(name: "connection", value: "keep-alive")
        }
        exchanges[exchanges.startIndex] = exchange
        return head
    }

    private func writeRefusal(_ context: ChannelHandlerContext) {
        guard exchanges.isEmpty, let (answer, requestID) = refusal else { return }
        refusal = nil
        let headers: HTTPHeaders = [
            "content-type": "application/json", "content-length": String(answer.body.utf8.count),
            "x-request-id": requestID, "cache-control": "no-store", "x-content-type-options": "nosniff",
            "date": Date.now.inHeaders, "server": CustomerAPI.serverName, "connection": "close",
        ]
        let status = HTTPResponseStatus(statusCode: answer.status)
        context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: answer.body)))), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        closeOutput(context)
    }

    /// Half-closes: closing at once, while the client still sends, could discard the answer before the client has read
    /// it. ``ClientTurnHandler`` closes the rest in time.
    private func closeOutput(_ context: ChannelHandlerContext) {
        context.close(mode: .output, promise: nil)
    }
}

extension Date {
    /// As header fields have it. Source: RFC 9110, section 5.6.7, IMF-fixdate.
    fileprivate var inHeaders: String {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        let parts = calendar.dateComponents([.year, .month, .day, .hour, .minute, .second, .weekday], from: self)
        let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func padded(_ number: Int?) -> String { (number ?? 0) < 10 ? "0\(number ?? 0)" : "\(number ?? 0)" }
        let day = "\(weekdays[(parts.weekday ?? 1) - 1]), \(padded(parts.day)) \(months[(parts.month ?? 1) - 1])"
        return "\(day) \(padded(parts.year)) \(padded(parts.hour)):\(padded(parts.minute)):\(padded(parts.second)) GMT"
    }
}
