import LibPQ
import Logging

extension ReadOperation {
    /// The app's events, oldest first: a page, which may be waited for, or a stream of server-sent events.
    static let listEvents = ReadOperation("/events", [.readAudit], .events)
}

/// Which events are asked for.
struct EventSearch: Sendable {
    /// Places in a chain that a number of JSON holds exactly, for clients that read numbers as binary floats.
    static let places = 0...9_007_199_254_740_991
    static let limits = 1...100
    /// Seconds.
    static let waits = 0...30

    /// The place in the chain behind which they are.
    let after: Int
    /// How many at most.
    let limit: Int
    /// How long to wait while there are none.
    let wait: Duration
    let isStream: Bool

    init(_ request: APIRequest) throws(Invalidity) {
        let parameters = request.parameters
        let after = try parameters.int("after", in: Self.places, default: 0)
        limit = try parameters.int("limit", in: Self.limits, default: 50)
        wait = .seconds(try parameters.int("wait", in: Self.waits, default: 0))
        isStream = request.wantsEventStream
        // A client that connects again asks for the same path, but knows better by then.
        guard isStream, let last = request.lastEventID else {
            self.after = after
            return
        }
        guard let place = Int(last), Self.places.contains(place) else {
            throw .invalidNumber(name: "last-event-id", Self.places)
        }
        self.after = place
    }
}

extension Read {
    func events(_ operation: ReadOperation, _ request: APIRequest) async -> Answer {
        let search = Result { () throws(Invalidity) in try EventSearch(request) }
        return await answer(operation, request, search) { search, caller, _ throws(DatabaseError) in
            guard search.isStream || search.wait > .zero else {
                return try await pool.withConnection(for: caller.appID, deadline: request.deadline) {
                    connection throws(DatabaseError) in
                    try await connection.events(
                        of: caller.appID, after: search.after, limit: search.limit, deadline: request.deadline
                    ).answer
                }
            }
            guard let seat = feed.enter(caller) else { return APIError.unavailable.answer }
            if search.isStream { return EventStream(seat: seat, after: search.after, logger: logger).answer }
            return try await seat.next(after: search.after, limit: search.limit, until: .now + search.wait).answer
        }
    }
}

extension EventPage {
    fileprivate var answer: Answer {
        let body: JSON = ["data": .array(events.map { .raw($0.body) }), "next_after": .int(end)]
        return Answer(status: 200, body: body.text)
    }
}

/// A body that never ends by itself: events as they come.
///
/// Source: HTML Standard, section 9.2, "Server-sent events".
private struct EventStream: Sendable {
    /// From one comment to the next, which tell the client, and what is between, that the stream is alive.
    private static let beat = Duration.seconds(15)
    private static let pageLength = 100

    let seat: EventFeed.Seat
    let after: Int
    let logger: Logger

    var answer: Answer {
        var answer = Answer(status: 200, body: "")
        answer.contentType = "text/event-stream"
        answer.stream = write
        return answer
    }

    /// Ends with the service, with the key, or with the connection. The client comes again by itself, with the last id.
    private func write(_ write: (String) async throws -> Void) async throws {
        var place = after
        var nextComment = ContinuousClock.now + Self.beat
        try await write(":\n\n")
        while !seat.isOver {
            let page: EventPage
            do {
                page = try await seat.next(after: place, limit: Self.pageLength, until: nextComment)
            } catch {
                logger.warning("a stream of events ends", metadata: ["error": "\(error)"])
                return
            }
            place = page.end
            var text = page.events.map { "id: \($0.seq)\nevent: \($0.type)\ndata: \($0.body)\n\n" }.joined()
            // Without an event it is due, or about to be.
            if page.events.isEmpty || nextComment <= .now {
                text += ":\n\n"
                nextComment = .now + Self.beat
            }
            try await write(text)
        }
    }
}
