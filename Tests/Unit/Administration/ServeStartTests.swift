import Foundation
import TestSupport
import Testing

/// The start of `customerd serve`, and the probe that asks whether it has started.
@Suite("The start of serve")
struct ServeStartTests {
    private static func url(_ database: TestDatabase, through gate: TCPGate) -> String {
        "postgresql://customerd_service@127.0.0.1:\(gate.port)/\(database.name)?sslmode=disable"
    }

    /// Starts it with a database behind a gate.
    private static func serve(
        _ database: TestDatabase, through gate: TCPGate, under wrapper: [String] = []
    ) throws -> ChildProcess {
        try ChildProcess(
            wrapper + [Customerd.path, "serve"],
            environment: Customerd.environment([
                "DATABASE_URL": url(database, through: gate),
                "CUSTOMERD_PORT": "\(RunningService.freePort())",
            ]))
    }

    @Test(
        "SIGTERM ends it with 0 while the database is slow to answer, whatever it has been asked",
        arguments: ["application_name", "service.migrations", "audit.entries", "service.privileges", "pg_trigger"])
    func termination(text: String) async throws {
        let database = try await Shared.database.value
        let gate = try TCPGate(before: try #require(database.cluster.socketPath))
        let sighting = gate.holdReplies(whenRequestContains: text)
        let child = try Self.serve(database, through: gate)

        await sighting.wait()
        child.send(signal: SIGTERM)

        #expect(await child.exitStatus(within: .seconds(5)) == 0, "\(child.errors)")
        gate.cut()
    }

    @Test("as process 1 of a container it ends too", .enabled(if: Self.canMakeProcessOne))
    func terminationAsProcessOne() async throws {
        let database = try await Shared.database.value
        let gate = try TCPGate(before: try #require(database.cluster.socketPath))
        let sighting = gate.holdReplies(whenRequestContains: "application_name")
        let parent = try Self.serve(database, through: gate, under: Self.processOne)

        await sighting.wait()
        let children = try String(
            contentsOfFile: "/proc/\(parent.processID)/task/\(parent.processID)/children", encoding: .utf8)
        let child = try #require(Int32(children.split(separator: " ").first ?? ""))
        kill(child, SIGTERM)

        #expect(await parent.exitStatus(within: .seconds(5)) == 0, "\(parent.errors)")
        gate.cut()
    }

    private static let processOne = [
        "/usr/bin/unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child",
    ]
    private static let canMakeProcessOne: Bool = {
        guard let child = try? ChildProcess(processOne + ["/bin/true"], environment: [:]) else { return false }
        while child.isRunning { usleep(10_000) }
        return child.errors.isEmpty
    }()

    @Test("it names what no longer protects customers with records, and serves")
    func protection() async throws {
        let database = try await TestDatabase.migrated()
        try await database.run(
            """
            ALTER TABLE public.invoices DROP CONSTRAINT invoices_belong_to_a_customer;
            ALTER TABLE public.transactions DISABLE TRIGGER ALL
            """)

        let service = try await RunningService.start(on: database)
        service.terminate()
        _ = await service.exitStatus(within: .seconds(20))

        #expect(service.log.contains("invoices has no foreign key on customers"), "\(service.log)")
        #expect(service.log.contains("transactions_belong_to_a_customer"))
        try await database.drop()
    }

    @Test("health ends with 0 when it is ready, with 1 when it isn't, with 3 when it doesn't answer")
    func health() async throws {
        let database = try await Shared.database.value
        let gate = try TCPGate(before: try #require(database.cluster.socketPath))
        let service = try await RunningService.start(
            on: database, ["DATABASE_URL": Self.url(database, through: gate)])
        let settings = ["CUSTOMERD_PORT": "\(service.port)", "CUSTOMERD_HOST": "0.0.0.0"]

        let ready = try await Customerd.run(["health", "--json"], settings)
        gate.refuse()
        gate.cut()
        try await eventually("health ends with 1") { try await Customerd.run(["health"], settings).status == 1 }
        let alive = try await Customerd.run(["health", "--live"], settings)
        await service.kill()
        let dead = try await Customerd.run(["health"], settings)

        #expect(ready.status == 0 && ready.output == "{\"healthy\":true,\"status\":200}\n", "\(ready)")
        #expect(alive.status == 0, "\(alive)")
        #expect(dead.status == 3 && dead.errors.contains("127.0.0.1:\(service.port)"), "\(dead)")
    }

    @Test("health finds a service that listens everywhere, on machines without one of the loopback addresses too")
    func healthOfAll() async throws {
        let database = try await Shared.database.value
        let service = try await RunningService.start(on: database, ["CUSTOMERD_HOST": "127.0.0.1"])

        for host in ["::", "[::]", "0.0.0.0"] {
            let settings = ["CUSTOMERD_PORT": "\(service.port)", "CUSTOMERD_HOST": host]
            let ended = try await Customerd.run(["health"], settings)
            #expect(ended.status == 0, "\(host): \(ended)")
        }
        let settings = ["CUSTOMERD_PORT": "\(service.port)", "CUSTOMERD_HOST": "::1"]
        #expect(try await Customerd.run(["health"], settings).status == 3, "it listens on another address")
        await service.kill()
        let dead = try await Customerd.run(["health"], settings.merging(["CUSTOMERD_HOST": "::"]) { $1 })
        #expect(dead.status == 3 && dead.errors.contains("[::1]:\(service.port) or 127.0.0.1:"), "\(dead)")
    }

    @Test("health speaks TLS where the service does", .enabled(if: SelfSignedCertificate.canBeMade))
    func healthOverTLS() async throws {
        let database = try await Shared.database.value
        let certificate = try SelfSignedCertificate()
        let settings = ["CUSTOMERD_TLS_CERTIFICATE": certificate.certificate, "CUSTOMERD_TLS_KEY": certificate.key]
        let service = try await RunningService.start(on: database, settings, trusting: certificate)

        let ended = try await Customerd.run(["health"], settings.merging(["CUSTOMERD_PORT": "\(service.port)"]) { $1 })

        #expect(ended.status == 0, "\(ended)")
        await service.kill()
    }

    private enum Shared {
        static let database = Task { try await TestDatabase.migrated() }
    }
}
