import TestSupport
import Testing

/// A bad setting stops the start with a sentence that names it.
@Suite("Settings", .stage())
struct SettingsTests {
    let stage = Stage.current

    @Test(
        "a bad value ends serve with 2, and is named",
        arguments: [
            ("CUSTOMERD_PORT", "eighty"), ("CUSTOMERD_PORT", "65536"), ("CUSTOMERD_PORT", "-1"),
            ("CUSTOMERD_PORT", "80 80"),
            ("CUSTOMERD_HOST", "[::1"), ("CUSTOMERD_HOST", "[::1]:80"),
            ("CUSTOMERD_HOST", "999.1.1.1"), ("CUSTOMERD_HOST", "127.0.0.1:80"),
            ("CUSTOMERD_HOST", "a b"),
            ("CUSTOMERD_POOL_SIZE", "0"), ("CUSTOMERD_POOL_SIZE", "-3"), ("CUSTOMERD_POOL_SIZE", "many"),
            ("CUSTOMERD_MAX_CONNECTIONS", "0"), ("CUSTOMERD_MAX_CONNECTIONS", "all"),
            ("CUSTOMERD_IDLE_TIMEOUT_SECONDS", "0"), ("CUSTOMERD_IDLE_TIMEOUT_SECONDS", "a while"),
            ("CUSTOMERD_RATE_LIMIT", "0"), ("CUSTOMERD_RATE_LIMIT", "1.5"),
            ("CUSTOMERD_RATE_LIMIT", "99999999999999999999"),
            ("CUSTOMERD_RATE_WINDOW_SECONDS", "0"), ("CUSTOMERD_RATE_WINDOW_SECONDS", "1m"),
            ("CUSTOMERD_IDEMPOTENCY_TTL_SECONDS", "-1"), ("CUSTOMERD_IDEMPOTENCY_TTL_SECONDS", "a day"),
            ("CUSTOMERD_REQUEST_TIMEOUT_SECONDS", "0"), ("CUSTOMERD_REQUEST_TIMEOUT_SECONDS", "ten"),
            ("CUSTOMERD_ALLOW_OWNER", "maybe"), ("CUSTOMERD_ROLE_PREFIX", "a b\"; DROP"),
            ("CUSTOMERD_BULK_PER_SECOND", "0"), ("CUSTOMERD_RESTORE_DAYS", "-1"), ("CUSTOMERD_RESTORE_DAYS", "ever"),
            ("CUSTOMERD_TRUSTED_PROXIES", "10.0.0.0/33"), ("CUSTOMERD_TRUSTED_PROXIES", "proxy.example"),
            ("CUSTOMERD_TRUSTED_PROXIES", "10.0.0.0/8, 1.2.3"), ("LOG_LEVEL", "loud"), ("LOG_FORMAT", "xml"),
            ("DATABASE_URL", "postgresql://user:hunter2-hunter2@host:notaport/db"), ("DATABASE_URL", "nonsense"),
        ])
    func badValue(name: String, value: String) async throws {
        let ended = try await serve([name: value])

        #expect(ended.status == 2)
        let said = ended.errors + ended.output
        #expect(said.contains(name))
        #expect(!said.contains("hunter2"), "a password isn't printed")
        #expect(said.split(separator: "\n").count <= 5, "a sentence, no stack trace")
    }

    @Test("serve refuses to run as a superuser")
    func superuser() async throws {
        let ended = try await serve(["DATABASE_URL": stage.database.url()])

        #expect(ended.status == 2)
        #expect((ended.errors + ended.output).contains("CUSTOMERD_ALLOW_OWNER"))
    }

    @Test("serve refuses to run as the owner of the trail, or as a role that can become it")
    func owner() async throws {
        let role = "owner_\(newID().prefix(8))"
        try await stage.database.run("CREATE ROLE \(role) LOGIN IN ROLE customerd_owner")

        let ended = try await serve(["DATABASE_URL": stage.database.url(user: role)])

        try await stage.database.run("DROP ROLE \(role)")
        #expect(ended.status == 2)
        #expect((ended.errors + ended.output).contains("CUSTOMERD_ALLOW_OWNER"))
    }

    @Test("CUSTOMERD_ALLOW_OWNER=1 lets a superuser serve")
    func allowedOwner() async throws {
        let service = try await stage.secondService([
            "DATABASE_URL": stage.database.url(), "CUSTOMERD_ALLOW_OWNER": "1",
        ])
        let tenant = try await stage.tenant().through(service)
        let customer = try await tenant.insert()

        #expect(try await tenant.delete(customer.id).status == 200)

        service.terminate()
        #expect(await service.exitStatus(within: .seconds(20)) == 0)
    }

    @Test(
        "a database that can't be reached ends serve, migrate and audit verify with 3",
        arguments: [
            ["serve"], ["migrate"], ["audit", "verify", "--json"], ["keys", "list", "--json"],
        ])
    func unreachable(arguments: [String]) async throws {
        let url = "postgresql://customerd_service:hunter2-hunter2@127.0.0.1:\(RunningService.freePort())/none"

        let ended = try await Customerd.run(
            arguments, ["DATABASE_URL": url, "CUSTOMERD_PORT": "\(RunningService.freePort())"])

        #expect(ended.status == 3)
        #expect(!ended.errors.isEmpty)
        #expect(!(ended.errors + ended.output).contains("hunter2"))
    }

    @Test("a database that isn't migrated ends serve with a sentence that says so")
    func notMigrated() async throws {
        let name = try await stage.database.cluster.createDatabase()

        let ended = try await serve([
            "DATABASE_URL": stage.database.cluster.url(database: name, user: "customerd_service")
        ])

        try await stage.database.cluster.dropDatabase(name)
        #expect(ended.status == 2)
        #expect((ended.errors + ended.output).contains("migrate"))
    }

    @Test("a port that is taken, or an unknown host, ends serve with a sentence that names it")
    func takenPort() async throws {
        let unknown = try await serve(["CUSTOMERD_HOST": "nosuch.invalid"])
        #expect(unknown.status == 1 && unknown.errors.contains("no such host is known (CUSTOMERD_HOST)"), "\(unknown)")
        let ended = try await serve(["CUSTOMERD_PORT": "\(stage.service.port)"])

        #expect(ended.status != 0)
        #expect((ended.errors + ended.output).contains("\(stage.service.port)"))
        #expect(try await stage.service.isReady)
    }

    @Test(
        "wrong usage ends with 2",
        arguments: [["fly"], ["serve", "--fast"], ["keys", "create", "--json"], ["keys", "revoke"]])
    func usage(arguments: [String]) async throws {
        let ended = try await Customerd.run(arguments, ["DATABASE_URL": stage.database.url()])

        #expect(ended.status == 2)
    }

    private func serve(_ settings: [String: String]) async throws -> Customerd.Ended {
        let settings = [
            "DATABASE_URL": stage.database.url(user: "customerd_service"),
            "CUSTOMERD_PORT": "\(RunningService.freePort())",
        ].merging(settings) { $1 }
        return try await Customerd.run(["serve"], settings, within: .seconds(20))
    }
}
