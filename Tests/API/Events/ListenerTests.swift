import TestSupport
import Testing

/// What many listeners cost that have nothing to hear.
@Suite("Many listeners", .stages)
struct ListenerTests {
    private static let count = 1_000
    #if DEBUG
        /// Code that isn't optimized keeps more on the heap.
        private static let mostKiB = 100
    #else
        private static let mostKiB = 40
    #endif

    @Test(
        "a thousand idle streams take little memory, and hear of an event all the same",
        .enabled(if: Swarm.mayHave(4 * count)), .timeLimit(.minutes(3)))
    func idle() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000000"])
        let tenant = try await stage.tenant()
        let swarm = Swarm(port: stage.service.port)
        defer { swarm.disperse() }
        let request = RawRequest(
            line: "GET /api/v0/events HTTP/1.1",
            headers: ["host: a", "accept: text/event-stream"] + tenant.key.headers.map { "\($0.name): \($0.value)" })
        let greeting = request.text
        try await swarm.grow(by: 50, greeting: greeting)
        try await eventually("the first listened") { try await tenant.listeners() == 50 }
        let before = try stage.service.figures.residentKiB

        try await swarm.grow(by: Self.count, greeting: greeting)
        try await eventually("all listened", within: .seconds(60)) {
            try await tenant.listeners() == Self.count + 50
        }
        let each = Double(try stage.service.figures.residentKiB - before) / Double(Self.count)
        print("a stream of events takes \(each) KiB")

        if ProcessFigures.tellOfMemory { #expect(each <= Double(Self.mostKiB)) }
        let start = ContinuousClock.now
        let reader = EventStreamReader(tenant)
        try await eventually("the last one listened") { reader.comments == 1 }
        _ = try await tenant.delete(try await tenant.insert().id)
        try await eventually("it heard of the event") { reader.messages.count == 1 }
        #expect(ContinuousClock.now - start < .seconds(15))
        #expect(try await swarm.openCount == Self.count + 50)
    }

    @Test("the database is asked once a second for all of them", .timeLimit(.minutes(3)))
    func lookUps() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000000"])
        let tenant = try await stage.tenant()
        // For sessions that begin from now on.
        let name = try #require(try await tenant.database.value("SELECT current_database()", []))
        try await tenant.database.run("ALTER DATABASE \(name) SET track_functions = 'all'")
        let counted = tenant.through(try await stage.secondService())
        let readers = (1...40).map { _ in EventStreamReader(counted) }
        try await eventually("all listen") { readers.allSatisfy { $0.comments == 1 } }
        func looks() async throws -> Int {
            let calls = try await tenant.database.value(
                "SELECT sum(calls) FROM pg_stat_user_functions WHERE funcname = 'listening'", [])
            return calls.flatMap { Int($0) } ?? 0
        }
        try await eventually("the counting began") { try await looks() > 0 }

        let (before, start) = (try await looks(), ContinuousClock.now)
        try await eventually("it looked again", within: .seconds(60)) { try await looks() >= before + 5 }
        let seconds = (ContinuousClock.now - start) / .seconds(1)

        // A session tells of what it did with up to a few seconds of delay.
        #expect(Double(try await looks() - before) <= seconds + 5, "in \(seconds) s")
        #expect(seconds > 1, "five look-ups take as many seconds, less what was told late")
    }
}

extension Tenant {
    /// Clients that wait for events at the instance.
    fileprivate func listeners() async throws -> Int? {
        let prefix = "customerd_event_listeners "
        let text = try await send(HTTPCall("GET", "/metrics")).body
        let line = text.split(separator: "\n").first { $0.hasPrefix(prefix) }
        return line.flatMap { Double($0.dropFirst(prefix.count)) }.map { Int($0) }
    }
}
