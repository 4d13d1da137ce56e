import Metrics
import NIOCore
import NIOHTTP1
import NIOTLS

/// Holds a client to its ``ClientLimits``: closes the connection whose client keeps us waiting for too long.
///
/// It stands behind the decoder, where a request is a request and not some bytes.
final class ClientTurnHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private static let lateCounter = Counter(
        label: "customerd_http_connections_closed_total", dimensions: [("reason", "late")])

    private let roster: ConnectionRoster
    /// The answer is being written in pieces, each with a deadline of its own.
    private var isStreaming = false
    private var turn: ConnectionTurn
    private var id: ConnectionRoster.ID?
    private var timer: (deadline: ContinuousClock.Instant, task: Scheduled<Void>)?

    init(limits: ClientLimits, isSecure: Bool, roster: ConnectionRoster) {
        self.roster = roster
        turn = ConnectionTurn(limits: limits, isSecure: isSecure, now: .now)
    }

    // MARK: - The connection

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { enter(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        enter(context)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        leave()
    }

    private func enter(_ context: ChannelHandlerContext) {
        guard id == nil else { return }
        id = roster.enter(context.channel)
        guard id != nil else { return context.close(promise: nil) }
        update(context)
    }

    private func leave() {
        timer?.task.cancel()
        timer = nil
        if let id { roster.leave(id) }
    }

    // MARK: - What happens on it

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head: turn.headArrived(now: .now)
        case .body: turn.bodyArrived()
        case .end: turn.requestEnded()
        }
        context.fireChannelRead(data)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        turn.readCompleted(now: .now)
        update(context)
        context.fireChannelReadComplete()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted: turn.handshakeCompleted(now: .now)
        case is ChannelShouldQuiesceEvent: turn.finished(now: .now)
        default: break
        }
        update(context)
        context.fireUserInboundEventTriggered(event)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            isStreaming = !head.headers.contains(name: "content-length")
            return context.write(data, promise: promise)
        case .body:
            guard isStreaming else { return context.write(data, promise: promise) }
            turn.pieceWritten(now: .now)
        case .end:
            turn.answered(now: .now)
        }
        let taken = promise ?? context.eventLoop.makePromise()
        taken.futureResult.assumeIsolated().whenSuccess { [self] in
            turn.answerTaken(now: .now)
            update(context)
        }
        context.write(data, promise: taken)
        update(context)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .output {
            turn.finished(now: .now)
            update(context)
        }
        context.close(mode: mode, promise: promise)
    }

    // MARK: - The deadline

    /// Follows the turn: tells the roster, and sets the timer. One that is too early is kept, as it looks again when it
    /// fires.
    private func update(_ context: ChannelHandlerContext) {
        guard let id, context.channel.isActive else { return }
        roster.set(id, isClientsTurn: turn.isClientsTurn)
        guard let deadline = turn.deadline else { return }
        if let timer, timer.deadline <= deadline { return }
        timer?.task.cancel()
        let task = context.eventLoop.assumeIsolated().scheduleTask(in: .init(deadline - .now)) { [self] in
            timer = nil
            timerFired(context)
        }
        timer = (deadline, task)
    }

    private func timerFired(_ context: ChannelHandlerContext) {
        guard let deadline = turn.deadline, deadline <= .now else { return update(context) }
        Self.lateCounter.increment()
        context.close(promise: nil)
    }
}
