import DequeModule
import Logging
import Metrics
import NIOConcurrencyHelpers
import NIOCore

/// All connections that are open, so that there are never too many.
///
/// A flood of connections must not lock others out: when there is one too many, the one that has been waiting for its
/// client the longest is closed. A complete request isn't dropped, unless its client doesn't read earlier answers.
final class ConnectionRoster: Sendable {
    struct ID: Hashable {
        fileprivate let value: UInt64
    }

    private struct Connection {
        let channel: any Channel
        /// Which of the entries in `waiting` is true; nil while the client waits for us.
        var stamp: UInt64?
    }

    private struct State {
        var open: [ID: Connection] = [:]
        /// Connections that wait for their client, the longest-waiting first. Entries whose stamp is old are ignored.
        var waiting: Deque<(id: ID, stamp: UInt64)> = []
        var lastNumber: UInt64 = 0
        var lastWarning: ContinuousClock.Instant?

        mutating func number() -> UInt64 {
            lastNumber += 1
            return lastNumber
        }

        mutating func wait(_ id: ID) {
            let stamp = number()
            open[id]?.stamp = stamp
            waiting.append((id, stamp))
            guard waiting.count > 2 * open.count + 64 else { return }
            let open = open
            waiting.removeAll { open[$0.id]?.stamp != $0.stamp }
        }

        mutating func longestWaiting() -> (any Channel)? {
            while let (id, stamp) = waiting.popFirst() {
                if open[id]?.stamp == stamp { return open.removeValue(forKey: id)?.channel }
            }
            return nil
        }

        /// Once a minute is enough.
        mutating func mayWarn(_ now: ContinuousClock.Instant) -> Bool {
            if let lastWarning, now - lastWarning < .seconds(60) { return false }
            lastWarning = now
            return true
        }
    }

    private let limit: Int
    private let logger: Logger
    private let state = NIOLockedValueBox(State())
    private let openGauge = Gauge(label: "customerd_http_connections")
    private let displacedCounter = Counter(
        label: "customerd_http_connections_closed_total", dimensions: [("reason", "displaced")])

    init(limit: Int, logger: Logger) {
        self.limit = limit
        self.logger = logger
    }

    /// Takes in a connection, which waits for its client.
    ///
    /// - Returns: nil when the place is needed for requests that are being worked on; the connection is to be closed.
    func enter(_ channel: any Channel) -> ID? {
        let (id, displaced, mayWarn) = state.withLockedValue { state -> (ID?, (any Channel)?, Bool) in
            let isFull = state.open.count >= limit
            let displaced = isFull ? state.longestWaiting() : nil
            let mayWarn = isFull && state.mayWarn(.now)
            guard !isFull || displaced != nil else { return (nil, nil, mayWarn) }
            let id = ID(value: state.number())
            state.open[id] = Connection(channel: channel)
            state.wait(id)
            openGauge.record(state.open.count)
            return (id, displaced, mayWarn)
        }
        if mayWarn {
            logger.warning("all connections are taken", metadata: ["limit": "\(limit)"])
        }
        if displaced != nil || id == nil { displacedCounter.increment() }
        displaced?.close(promise: nil)
        return id
    }

    /// The connection waits for its client from now on, or the client for us.
    func set(_ id: ID, isClientsTurn: Bool) {
        state.withLockedValue { state in
            guard let connection = state.open[id], (connection.stamp != nil) != isClientsTurn else { return }
            if isClientsTurn { state.wait(id) } else { state.open[id]?.stamp = nil }
        }
    }

    func leave(_ id: ID) {
        state.withLockedValue { state in
            guard state.open.removeValue(forKey: id) != nil else { return }
            openGauge.record(state.open.count)
        }
    }
}
