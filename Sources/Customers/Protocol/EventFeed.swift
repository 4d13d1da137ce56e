public import LibPQ
public import Logging
import Metrics
import NIOConcurrencyHelpers
public import ServiceLifecycle

/// An entry of the chain as others are told of it: docs/api.md, Events.
public struct Event: Sendable, Hashable {
    /// Its place in the chain.
    public let seq: Int
    /// That of the entry.
    public let id: UUID
    public let type: String
    /// JSON text, as the database rendered it.
    public let body: String

    /// All types, in the order of `service.event_types`.
    static let types = [
        "customer.created", "customer.updated", "customer.status_changed", "customer.archived", "customer.unarchived",
        "customer.deleted", "customer.deletion_refused", "customer.redacted", "customer.restored",
        "customer.deletion_scheduled", "customer.deletion_cancelled",
    ]
}

/// Events that follow each other.
public struct EventPage: Sendable {
    public let events: [Event]
    /// The place in the chain up to which there are no others.
    public let end: Int
    /// Whether more entries may lie behind than were looked at.
    public let mayHaveMore: Bool

    /// Entries that the database looks at for a page at most; see `service.events`.
    private static let range = 1000

    fileprivate init(events: [Event], end: Int, mayHaveMore: Bool) {
        self.events = events
        self.end = end
        self.mayHaveMore = mayHaveMore
    }

    /// Decodes the rows of `service.events`.
    fileprivate init(_ rows: [Row], after place: Int, limit: Int) throws(DatabaseError) {
        var events: [Event] = []
        for row in rows.dropLast() {
            events.append(
                Event(
                    seq: try row.get("seq"), id: try row.get("id"), type: try row.get("type"),
                    body: try row.get("event")))
        }
        guard let end = rows.last?.int("seq") else { throw .unexpected("a page of events without end") }
        self.init(events: events, end: end, mayHaveMore: events.count == limit || end - place == Self.range)
    }
}

extension Connection {
    /// The events behind a place in the chain of an app.
    ///
    /// - Parameter types: those alone; all of them when nil.
    public func events(
        of appID: UUID, after place: Int, limit: Int, types: [String]? = nil, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> EventPage {
        let statement = Statement(
            "SELECT seq, id, type, event FROM service.events($1, $2, $3, $4)",
            [.uuid(appID), .int(place), .int(limit), types.map { .array($0) } ?? .null])
        return try EventPage(try await query(statement, deadline: deadline).rows, after: place, limit: limit)
    }
}

/// Tells listeners of new events, all of them together: once a second one look-up asks for the lengths of all chains that have
/// listeners, and an entry that this instance appended is looked for at once. What is new is read once a chain, however
/// many wait for it; a listener that is further behind reads for itself.
///
/// The SQL stands in sql/functions/events.sql.
public final class EventFeed: Service {
    /// How exactly the time of a listener that waits is kept.
    private static let tick = Duration.milliseconds(250)
    private static let ticksPerLook = 4
    /// Events of a chain that are remembered for listeners that come a little later.
    private static let tailLength = 100
    /// Connections of an app's share on which its listeners read: however many catch up at once, the others are left to its
    /// requests.
    private static let readersLimit = 1
    /// How long one look, and one page, may take.
    private static let timeout = Duration.seconds(5)

    private let pool: ConnectionPool
    private let listenersPool: ConnectionPool
    private let limit: Int
    private let logger: Logger
    private let listenersGauge = Gauge(label: "customerd_event_listeners")
    private let state = NIOLockedValueBox(State())
    private let (signals, signal) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// - Parameters:
    ///   - pool: where the feed looks, and with it the deliverer of webhooks; it falls back to the other.
    ///   - listenersPool: where listeners that are behind read, and the others when that has no connection.
    ///   - limit: listeners at one time. An app may have half of them, so that it locks no other out.
    public init(pool: ConnectionPool, listenersPool: ConnectionPool, limit: Int, logger: Logger) {
        self.pool = pool
        self.listenersPool = listenersPool
        self.limit = limit
        self.logger = logger
    }

    private struct State {
        var chains: [UUID: Chain] = [:]
        var listeners = 0
        var lastWait = 0
        /// Chains that this instance has appended to since the last look.
        var appended: Set<UUID> = []
        var isLookDue = false
        var isFailing = false
        var isClosed = false
    }

    /// A chain that has listeners.
    private struct Chain {
        /// By key.
        var listeners: [UUID: Int] = [:]
        var endedKeys: Set<UUID> = []
        /// What came last: all events behind `start` up to `end`.
        var tail: (start: Int, events: [Event], end: Int)?
        var waiting: [Int: Waiter] = [:]

        var count: Int { listeners.values.reduce(0, +) }

        mutating func extend(by page: EventPage) {
            guard let known = tail else { return }
            let events = known.events + page.events.filter { $0.seq > known.end }
            let forgotten = events.dropLast(EventFeed.tailLength)
            tail = (
                start: forgotten.last?.seq ?? known.start, events: Array(events.suffix(EventFeed.tailLength)),
                end: max(known.end, page.end)
            )
        }

        mutating func takeWaiting(where isMeant: (Waiter) -> Bool) -> [Waiter] {
            let meant = waiting.filter { isMeant($0.value) }
            for id in meant.keys { waiting[id] = nil }
            return Array(meant.values)
        }
    }

    private struct Waiter {
        let place: Int
        let keyID: UUID
        let deadline: ContinuousClock.Instant
        let continuation: CheckedContinuation<Void, Never>
    }

    // MARK: - Listeners

    /// The place of one listener, kept until nothing refers to it any more.
    final class Seat: Sendable {
        private let feed: EventFeed
        private let caller: Caller

        fileprivate init(_ feed: EventFeed, _ caller: Caller) {
            self.feed = feed
            self.caller = caller
        }

        deinit {
            feed.leave(caller)
        }

        /// Whether nothing further will come: the service stops, the connection is gone, or the key is good no more.
        var isOver: Bool {
            Task.isCancelled || feed.hasEnded(caller)
        }

        /// The events behind a place, as soon as there are any; none when there were none by the deadline, or it is over.
        func next(
            after place: Int, limit: Int, until deadline: ContinuousClock.Instant
        ) async throws(DatabaseError) -> EventPage {
            var place = place
            while true {
                var page = feed.remembered(of: caller.appID, after: place, limit: limit)
                if page == nil { page = try await feed.read(caller.appID, after: place, limit: limit) }
                guard let page else { continue }
                if !page.events.isEmpty { return page }
                place = page.end
                if deadline <= .now || isOver { return page }
                if !page.mayHaveMore { await feed.wait(caller, after: place, until: deadline) }
            }
        }
    }

    /// A seat for a listener; nil when there is none left.
    func enter(_ caller: Caller) -> Seat? {
        let isEntered = state.withLockedValue { state in
            let own = state.chains[caller.appID]?.count ?? 0
            guard !state.isClosed, state.listeners < limit, own < max(1, limit / 2) else { return false }
            state.listeners += 1
            listenersGauge.record(state.listeners)
            state.chains[caller.appID, default: Chain()].listeners[caller.keyID, default: 0] += 1
            return true
        }
        return isEntered ? Seat(self, caller) : nil
    }

    private func leave(_ caller: Caller) {
        state.withLockedValue { state in
            state.listeners -= 1
            listenersGauge.record(state.listeners)
            guard var chain = state.chains[caller.appID] else { return }
            let rest = (chain.listeners[caller.keyID] ?? 0) - 1
            chain.listeners[caller.keyID] = rest > 0 ? rest : nil
            state.chains[caller.appID] = chain.listeners.isEmpty ? nil : chain
        }
    }

    private func hasEnded(_ caller: Caller) -> Bool {
        state.withLockedValue { state in
            state.isClosed || state.chains[caller.appID]?.endedKeys.contains(caller.keyID) ?? false
        }
    }

    /// Lets all listeners go, and no further one in.
    private func close() {
        let waiting = state.withLockedValue { state in
            state.isClosed = true
            var waiting: [Waiter] = []
            for appID in state.chains.keys { waiting += state.chains[appID]?.takeWaiting { _ in true } ?? [] }
            return waiting
        }
        for waiter in waiting { waiter.continuation.resume() }
    }

    /// What ends the listeners when the service is to stop: before the servers, which wait for them.
    public struct Closing: Service {
        private let feed: EventFeed

        public init(_ feed: EventFeed) {
            self.feed = feed
        }

        public func run() async throws {
            try await gracefulShutdown()
            feed.close()
        }
    }

    /// What memory knows of what is behind a place; nil when it doesn't reach back so far.
    private func remembered(of appID: UUID, after place: Int, limit: Int) -> EventPage? {
        state.withLockedValue { state in
            guard let tail = state.chains[appID]?.tail, tail.start <= place else { return nil }
            let events = tail.events.drop { $0.seq <= place }
            let page = Array(events.prefix(limit))
            guard events.count > limit, let last = page.last else {
                return EventPage(events: page, end: max(tail.end, place), mayHaveMore: false)
            }
            return EventPage(events: page, end: last.seq, mayHaveMore: true)
        }
    }

    /// In a task of its own: a task keeps its stack for as long as it runs, and what a trip to the database takes of one, some
    /// 20 KiB, a stream needs only while it reads.
    private func read(_ appID: UUID, after place: Int, limit: Int) async throws(DatabaseError) -> EventPage {
        let deadline = ContinuousClock.now + Self.timeout
        return try await Reactor.shared.apart { [listenersPool] () throws(DatabaseError) in
            try await listenersPool.withConnection(for: appID, atMost: Self.readersLimit, deadline: deadline) {
                connection throws(DatabaseError) in
                try await connection.events(of: appID, after: place, limit: limit, deadline: deadline)
            }
        }
    }

    /// Returns when there may be something behind a place, at the deadline, or when it is over.
    private func wait(_ caller: Caller, after place: Int, until deadline: ContinuousClock.Instant) async {
        let id = state.withLockedValue { state in
            state.lastWait += 1
            return state.lastWait
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waiter = Waiter(place: place, keyID: caller.keyID, deadline: deadline, continuation: continuation)
                if !add(waiter, id, caller.appID) { continuation.resume() }
            }
        } onCancel: { [self] in
            let waiter = state.withLockedValue { $0.chains[caller.appID]?.waiting.removeValue(forKey: id) }
            waiter?.continuation.resume()
        }
    }

    /// - Returns: whether there is something to wait for.
    private func add(_ waiter: Waiter, _ id: Int, _ appID: UUID) -> Bool {
        let (isWaiting, isNew) = state.withLockedValue { state -> (Bool, Bool) in
            // If the task is cancelled, its handler has come and gone already.
            guard !state.isClosed, !Task.isCancelled, var chain = state.chains[appID],
                !chain.endedKeys.contains(waiter.keyID)
            else { return (false, false) }
            if let tail = chain.tail, tail.end > waiter.place { return (false, false) }
            let isNew = chain.tail == nil
            // What was appended since the listener looked is looked for at once.
            if isNew {
                chain.tail = (start: waiter.place, events: [], end: waiter.place)
                state.appended.insert(appID)
            }
            chain.waiting[id] = waiter
            state.chains[appID] = chain
            return (true, isNew)
        }
        if isNew { signal.yield() }
        return isWaiting
    }

    // MARK: - Looking

    /// An entry of this app has been appended by this instance.
    func appended(_ appID: UUID) {
        let isListenedTo = state.withLockedValue { state in
            guard state.chains[appID] != nil else { return false }
            state.appended.insert(appID)
            return true
        }
        if isListenedTo { signal.yield() }
    }

    /// Looks until the service stops.
    public func run() async throws {
        await cancelWhenGracefulShutdown { [self] in
            await withTaskGroup { group in
                group.addTask { await self.keepTime() }
                for await _ in signals { await look() }
                group.cancelAll()
            }
        }
    }

    private func keepTime() async {
        var ticks = 0
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.tick)
            ticks += 1
            // Rather a little early than late: a client counts the seconds, too.
            let limit = ContinuousClock.now + Self.tick
            let (late, hasListeners) = state.withLockedValue { state in
                var late: [Waiter] = []
                for appID in state.chains.keys {
                    late += state.chains[appID]?.takeWaiting { $0.deadline <= limit } ?? []
                }
                if ticks.isMultiple(of: Self.ticksPerLook) { state.isLookDue = !state.chains.isEmpty }
                return (late, state.isLookDue)
            }
            for waiter in late { waiter.continuation.resume() }
            if hasListeners { signal.yield() }
        }
    }

    private func look() async {
        do throws(DatabaseError) {
            let deadline = ContinuousClock.now + Self.timeout
            try await pool.withConnection(fallingBackTo: listenersPool, deadline: deadline) {
                connection throws(DatabaseError) in
                for (appID, end) in try await moved(connection, deadline: deadline) {
                    try await catchUp(appID, from: end, connection)
                }
            }
            state.withLockedValue { $0.isFailing = false }
        } catch {
            let isNew = state.withLockedValue { state in
                defer { state.isFailing = true }
                return !state.isFailing
            }
            if isNew { logger.warning("events can't be looked for now", metadata: ["error": "\(error)"]) }
        }
    }

    /// The chains that have grown, and the place up to which each is known. Ends what listens by a key that is good no more.
    private func moved(
        _ connection: Connection, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> [(UUID, Int)] {
        let (isDue, appended, keys) = state.withLockedValue { state in
            defer {
                state.isLookDue = false
                state.appended = []
            }
            let keys = state.isLookDue ? state.chains.mapValues { Array($0.listeners.keys) } : [:]
            return (state.isLookDue, state.appended, keys)
        }
        var grown = appended
        if isDue {
            let statement = Statement(
                "SELECT app_id, seq, ended_key FROM service.listening($1, $2)",
                [.array(keys.keys.map(\.text)), .array(Set(keys.values.joined()).map(\.text))])
            for row in try await connection.query(statement, deadline: deadline).rows {
                if let key = row.uuid("ended_key") {
                    end(key)
                } else if let appID = row.uuid("app_id"), let head = row.int("seq"), isBehind(appID, head) {
                    grown.insert(appID)
                }
            }
        }
        return state.withLockedValue { state in
            grown.compactMap { appID in state.chains[appID]?.tail.map { (appID, $0.end) } }
        }
    }

    private func isBehind(_ appID: UUID, _ head: Int) -> Bool {
        state.withLockedValue { $0.chains[appID]?.tail.map { $0.end < head } ?? false }
    }

    private func end(_ keyID: UUID) {
        let ended = state.withLockedValue { state in
            var ended: [Waiter] = []
            for appID in state.chains.keys where state.chains[appID]?.listeners[keyID] != nil {
                state.chains[appID]?.endedKeys.insert(keyID)
                ended += state.chains[appID]?.takeWaiting { $0.keyID == keyID } ?? []
            }
            return ended
        }
        for waiter in ended { waiter.continuation.resume() }
    }

    private func catchUp(_ appID: UUID, from end: Int, _ connection: Connection) async throws(DatabaseError) {
        var end = end
        while true {
            let page = try await connection.events(
                of: appID, after: end, limit: Self.tailLength, deadline: .now + Self.timeout)
            let woken = state.withLockedValue { state in
                state.chains[appID]?.extend(by: page)
                guard let last = page.events.last?.seq else { return [Waiter]() }
                return state.chains[appID]?.takeWaiting { $0.place < last } ?? []
            }
            for waiter in woken { waiter.continuation.resume() }
            end = page.end
            guard page.mayHaveMore else { return }
        }
    }
}
