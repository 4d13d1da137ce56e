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
