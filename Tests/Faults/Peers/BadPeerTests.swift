import TestSupport
import Testing

/// Clients that take up the service's time and memory, and nothing else. Others are served as if they weren't there.
///
/// One after the other: each measures latency and memory.
@Suite("Bad peers", .serialized, .stages)
struct BadPeerTests {
    /// Far more than any answer takes: in a debug build, on a machine that is busy with other tests, some thousand
    /// connections that came before take their time. A release build on a quiet machine is what figures are for.
    private static let tolerable = Duration.seconds(30)
    private static let greeting = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"

    /// Runs an attack on a service of its own, while a bystander asks for what others ask for.
    private func attack(
        _ name: String, _ settings: [String: String] = [:], descriptors: (soft: Int, hard: Int)? = nil,
        _ body: @escaping @Sendable (OutageScene, Swarm) async throws -> Void
    ) async throws {
        let settings = ["CUSTOMERD_IDLE_TIMEOUT_SECONDS": "3"].merging(settings) { $1 }
        let scene = try await OutageScene.open(settings, descriptors: descriptors)
        let before = try scene.service.figures
        let swarm = Swarm(port: scene.service.port)

        let (_, bystander) = try await Bystander.during(scene.tenant) { try await body(scene, swarm) }
        swarm.disperse()
        // The bystander's connections and the database's remain.
        try await eventually("what was taken up was given back", within: .seconds(120)) {
            try scene.service.figures.descriptors <= before.descriptors + 16
        }

        let after = try scene.service.figures
        #expect(bystander.disappointments == [])
        #expect(bystander.worst < Self.tolerable)
        print(
            """
            \(name): \(before.residentKiB) KiB before, \(after.peakResidentKiB) at the peak, \
            \(after.residentKiB) after; \(bystander)
            """)
    }

    @Test("headers that come byte by byte have the time of a request, however steadily they come")
    func slowHeaders() async throws {
        try await attack("300 clients that send headers byte by byte") { scene, swarm in
            try await swarm.grow(by: 300, greeting: "GET /health/live HTTP/1.1\r\nHost: ")
            try await eventually("all were hung up on", within: .hang) {
                try await swarm.send("x")
                return try await swarm.openCount == 0
            }
        }
    }

    @Test("so have the headers of a second request")
    func slowSecondHeaders() async throws {
        try await attack("300 clients that send second headers byte by byte") { scene, swarm in
            try await swarm.grow(by: 300, greeting: Self.greeting + "GET /health/live HTTP/1.1\r\nHost: ")
            try await eventually("all were hung up on", within: .hang) {
                try await swarm.send("x")
                return try await swarm.openCount == 0
            }
        }
    }

    @Test(
        "a body that trickles has the time of a request, whether it is read or not",
        arguments: ["DELETE /api/v0/customers/x", "GET /health/live", "DELETE /nowhere"])
    func slowBody(line: String) async throws {
        try await attack("300 clients whose body trickles, \(line)") { scene, swarm in
            let head = "\(line) HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
            try await swarm.grow(by: 300, greeting: head)
            try await eventually("all were hung up on", within: .hang) {
                try await swarm.send("x")
                return try await swarm.openCount == 0
            }
        }
    }

    @Test("a body beyond the limit is refused, and not taken in for ever")
    func endlessBody() async throws {
        try await attack("50 clients that never stop sending") { scene, swarm in
            let before = try scene.service.figures.residentKiB
            let head = "DELETE /api/v0/customers/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
            try await swarm.grow(by: 50, greeting: head)
            let piece = String(repeating: "x", count: 65_536)
            try await eventually("all were hung up on", within: .seconds(30)) {
                try await swarm.send(piece)
                return try await swarm.openCount == 0
            }

            try scene.service.figures.expectPeak(below: before + 65_536)
        }
    }

    @Test("a client that says that it will send no more gets its answer, or is hung up on at once")
    func halfClosed() async throws {
        try await attack("300 half-closed connections", ["CUSTOMERD_IDLE_TIMEOUT_SECONDS": "60"]) { scene, _ in
            let requests = [Self.greeting, "", "GET /health/live HT", "GET / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx"]
            var replies: [String: Set<Int>] = [:]
            for request in Array(repeating: requests, count: 75).joined() {
                let connection = try RawConnection(port: scene.service.port)
                await connection.send(request)
                connection.finish()
                let first = await connection.reply(within: .seconds(5))
                replies[request, default: []].insert(first.answer?.status ?? (first == .closed ? 0 : -1))
                #expect(await connection.reply(within: .seconds(5)) == .closed, "one answer is all")
            }

            #expect(replies[Self.greeting] == [200])
            #expect(replies[""] == [0])
            #expect(replies["GET /health/live HT"] ?? [] == [400])
            #expect(replies.values.allSatisfy { !$0.contains(-1) }, "every client gets an answer")
        }
    }

    @Test("a megabyte of headers gets its 431, every time, and costs no memory")
    func hugeHeaders() async throws {
        try await attack("200 times a megabyte of headers") { scene, _ in
            let before = try scene.service.figures.residentKiB
            let header = "X-Huge: \(String(repeating: "x", count: 1 << 20))"
            let huge = "GET /health/live HTTP/1.1\r\nHost: x\r\n\(header)\r\n\r\n"
            var replies: [RawConnection.Reply: Int] = [:]
            for _ in 1...200 {
                let connection = try RawConnection(port: scene.service.port)
                await connection.send(huge)
                let reply = await connection.reply(within: .seconds(5))
                replies[reply.answer.map { .answer(.init(status: $0.status)) } ?? reply, default: 0] += 1
            }

            #expect(replies == [.answer(.init(status: 431)): 200])
            try scene.service.figures.expectPeak(below: before + 65_536)
        }
    }

    @Test(
        "10,000 idle connections are borne with",
        .enabled(if: Swarm.mayHave(10_000), "takes 11,000 descriptors (ulimit -Hn)"))
    func manyIdle() async throws {
        try await attack("10,000 idle connections", ["CUSTOMERD_IDLE_TIMEOUT_SECONDS": "300"]) { scene, swarm in
            let before = try scene.service.figures
            try await swarm.grow(by: 10_000, greeting: Self.greeting)
            try await eventually("all were accepted", within: .seconds(60)) {
                try scene.service.figures.descriptors >= 10_000
            }
            let during = try scene.service.figures
            print("10,000 idle connections: \((during.residentKiB - before.residentKiB) * 1024 / 10_000) bytes each")

            #expect(try await swarm.openCount == 10_000)
            #expect(during.softDescriptorLimit == during.hardDescriptorLimit)
            during.expectPeak(below: before.residentKiB + 512 * 1024)
        }
    }

    @Test("a connection that is idle for too long is closed, whether it was used or not")
    func idleForTooLong() async throws {
        try await attack("600 connections that are left idle") { scene, swarm in
            try await swarm.grow(by: 300)
            try await swarm.grow(by: 300, greeting: Self.greeting)
            try await eventually("all were hung up on", within: .seconds(30)) { try await swarm.openCount == 0 }
        }
    }

    @Test("bytes that aren't HTTP get a 400 or are hung up on")
    func noise() async throws {
        try await attack("500 times noise") { scene, _ in
            var generator = SeededGenerator(seed: 8)
            var replies: [String: Int] = [:]
            for number in 1...500 {
                let connection = try RawConnection(port: scene.service.port)
                // Every tenth begins as TLS does.
                let hello: [UInt8] = number % 10 == 0 ? [0x16, 0x03, 0x01] : []
                await connection.send(hello + generator.bytes(1...4096))
                connection.finish()
                let reply = await connection.reply(within: .seconds(5))
                replies[reply.answer.map { "\($0.status)" } ?? "\(reply)", default: 0] += 1
            }

            #expect(Set(replies.keys).isSubset(of: ["400", "431", "closed"]), "\(replies)")
        }
    }

    @Test("1,000 requests sent at once are answered in their order")
    func pipelined() async throws {
        try await attack("1,000 pipelined requests") { scene, _ in
            let connection = try RawConnection(port: scene.service.port)
            let requests = (1...1000).map { "GET /health/live HTTP/1.1\r\nHost: x\r\nX-Request-ID: \($0)\r\n\r\n" }
            async let sent: Void = connection.send(requests.joined())
            var answered: [String] = []
            for _ in requests { answered.append(await connection.reply().answer?["x-request-id"] ?? "none") }
            await sent

            #expect(answered == (1...1000).map { "\($0)" })
        }
    }

    @Test("clients that ask and ask and never read are given up, and what they didn't take is forgotten")
    func neverReading() async throws {
        try await attack("100 clients that never read") { scene, swarm in
            let before = try scene.service.figures
            let ask = String(repeating: "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", count: 50)
            try await swarm.grow(by: 100, greeting: ask)
            try await eventually("all were hung up on", within: .seconds(60)) {
                try await swarm.send(ask)
                // A connection that was kept may be closed for its idleness just as it is used again.
                let metrics = try? await HTTPCall("GET", "/metrics").send(to: scene.service.port).body
                let late = metrics?.firstMatch(of: /connections_closed_total\{reason="late"\} (\d+)/)
                return late.flatMap { Int($0.output.1) } ?? 0 >= 100
            }

            try scene.service.figures.expectPeak(below: before.residentKiB + 256 * 1024)
        }
    }

    @Test("nor do they hold up the end of the service")
    func neverReadingAtTheEnd() async throws {
        let scene = try await OutageScene.open()
        let swarm = Swarm(port: scene.service.port)
        let ask = String(repeating: "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", count: 1000)
        try await swarm.grow(by: 20, greeting: ask)
        try await eventually("no more was sent to them") { try await swarm.send(ask) == 0 }

        scene.service.terminate()

        #expect(await scene.service.exitStatus(within: .hang) == 0)
    }

    @Test("a flood of connections beyond the limit displaces idle ones, and locks no client out")
    func flood() async throws {
        let settings = ["CUSTOMERD_MAX_CONNECTIONS": "1000", "CUSTOMERD_REQUEST_TIMEOUT_SECONDS": "25"]
        try await attack("5,000 connections where 1,000 may be", settings) { scene, swarm in
            let before = try scene.service.figures.descriptors
            for _ in 1...50 {
                try await swarm.grow(by: 100, greeting: "GET /health/live HTTP/1.1\r\nHost: ")
                // Those that are displaced take a moment to go.
                #expect(try scene.service.figures.descriptors < before + 1000 + 500)
            }

            #expect(scene.service.log.contains("all connections are taken"))
        }
    }

    @Test("a process that may have few descriptors keeps enough of them for the database")
    func fewDescriptors() async throws {
        try await attack(
            "2,000 connections and 512 descriptors", ["CUSTOMERD_IDLE_TIMEOUT_SECONDS": "60"],
            descriptors: (soft: 128, hard: 512)
        ) { scene, swarm in
            for _ in 1...20 { try await swarm.grow(by: 100, greeting: Self.greeting) }
            _ = try await scene.database.value(
                """
                SELECT count(pg_terminate_backend(pid))
                FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'customerd_service' AND state = 'idle'
                """)
            try await eventually("the database was reached again") { try await scene.service.isReady }

            let figures = try scene.service.figures
            #expect(figures.softDescriptorLimit == 512)
            #expect(figures.descriptors < 512)
            #expect(!scene.service.log.contains("Too many open files"))
        }
    }

    @Test("more connections than there are descriptors for is a bad setting")
    func tooManyConnections() async throws {
        let database = try await TestDatabase.migrated()
        let ended = try await Customerd.run(
            ["serve"],
            [
                "DATABASE_URL": database.url(user: "customerd_service"),
                "CUSTOMERD_PORT": "\(RunningService.freePort())", "CUSTOMERD_MAX_CONNECTIONS": "1000000",
            ])

        try await database.drop()

        #expect(ended.status == 2)
        #expect(ended.errors.contains("CUSTOMERD_MAX_CONNECTIONS"))
        #expect(ended.errors.contains("ulimit"))
    }
}

extension ProcessFigures {
    fileprivate func expectPeak(below limit: Int, at location: SourceLocation = #_sourceLocation) {
        #expect(!Self.tellOfMemory || peakResidentKiB < limit, sourceLocation: location)
    }
}
