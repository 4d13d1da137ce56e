import Testing

@testable import CustomerHTTP

@Suite("Whose turn it is on a connection")
struct ConnectionTurnTests {
    private let start = ContinuousClock.now
    private let limits = ClientLimits(connections: 10, arrival: .seconds(10), silence: .seconds(60))

    private func at(_ seconds: Int) -> ContinuousClock.Instant { start + .seconds(seconds) }

    /// After one request and its answer, taken at 5.
    private func afterOneRequest() -> ConnectionTurn {
        var turn = ConnectionTurn(limits: limits, now: start)
        turn.headArrived(now: at(1))
        turn.requestEnded()
        turn.readCompleted(now: at(1))
        turn.answered(now: at(4))
        turn.answerTaken(now: at(5))
        return turn
    }

    @Test("a client that sends nothing has the time of silence, from the beginning and from its last answer")
    func silence() {
        let fresh = ConnectionTurn(limits: limits, now: start)
        let used = afterOneRequest()

        #expect(fresh.deadline == at(60))
        #expect(used.deadline == at(65))
        #expect(fresh.isClientsTurn && used.isClientsTurn)
    }

    @Test("a request has the time of an arrival from its first byte, however many bytes follow")
    func slowHeaders() {
        var turn = afterOneRequest()
        turn.readCompleted(now: at(20))
        turn.readCompleted(now: at(29))

        #expect(turn.deadline == at(30))
        #expect(turn.isClientsTurn)
    }

    @Test("an answer in pieces gives the client the time of silence for each, and waits for us in between")
    func pieces() {
        var turn = ConnectionTurn(limits: limits, now: start)
        turn.headArrived(now: at(1))
        turn.requestEnded()
        turn.readCompleted(now: at(1))
        turn.pieceWritten(now: at(2))
        turn.pieceWritten(now: at(3))
        #expect(turn.deadline == at(62))

        turn.answerTaken(now: at(50))
        #expect(turn.deadline == at(110))

        turn.answerTaken(now: at(51))
        #expect(turn.deadline == nil)
        #expect(!turn.isClientsTurn)

        turn.answered(now: at(52))
        turn.answerTaken(now: at(53))
        #expect(turn.deadline == at(113))
    }

    @Test("while it is worked on, the client waits for us")
    func work() {
        var turn = ConnectionTurn(limits: limits, now: start)
        turn.headArrived(now: at(1))
        turn.requestEnded()
        turn.readCompleted(now: at(1))

        #expect(turn.deadline == nil)
        #expect(!turn.isClientsTurn)
    }

    @Test("a body that arrives has the deadline of its reader, but the connection may be given up")
    func slowBody() {
        var turn = ConnectionTurn(limits: limits, now: start)
        turn.headArrived(now: at(1))
        turn.bodyArrived()
        turn.readCompleted(now: at(2))

        #expect(turn.deadline == nil)
        #expect(turn.isClientsTurn)
    }

    @Test("a body that continues after the answer has the time of an arrival")
    func unreadBody() {
        var turn = ConnectionTurn(limits: limits, now: start)
        turn.headArrived(now: at(1))
        turn.answered(now: at(3))
        turn.answerTaken(now: at(3))
        turn.bodyArrived()
        turn.readCompleted(now: at(9))

        #expect(turn.deadline == at(13))
    }

    @Test("an answer that isn't taken has the time of silence, whatever requests follow")
    func untaken() {
        var turn = ConnectionTurn(limits: limits, now: start)
        for _ in 1...3 {
            turn.headArrived(now: at(1))
            turn.requestEnded()
        }
        turn.readCompleted(now: at(1))
        turn.answered(now: at(2))
        turn.answered(now: at(8))

        #expect(turn.deadline == at(62))
        turn.answerTaken(now: at(20))
        #expect(turn.deadline == at(80), "one taken, one to go")
        turn.answerTaken(now: at(21))
        #expect(turn.deadline == nil, "the third is ours to answer")
    }

    @Test("a request that came whole isn't given up for what follows it")
    func pipelined() {
        var turn = ConnectionTurn(limits: limits, now: start)
        turn.headArrived(now: at(1))
        turn.requestEnded()
        turn.headArrived(now: at(1))
        turn.readCompleted(now: at(1))

        #expect(!turn.isClientsTurn)
        #expect(turn.deadline == nil)
    }

    @Test("a handshake has the time of an arrival; after it, nothing has begun")
    func handshake() {
        var turn = ConnectionTurn(limits: limits, isSecure: true, now: start)
        #expect(turn.deadline == at(10))

        turn.handshakeCompleted(now: at(2))
        turn.readCompleted(now: at(2))

        #expect(turn.deadline == at(62))
    }

    @Test("once nothing more will come from us, the client has the time of an arrival to hang up")
    func finished() {
        var turn = afterOneRequest()
        turn.finished(now: at(6))

        #expect(turn.deadline == at(16))
    }
}
