public import Testing

/// What a suite works with: a migrated database of its own, and a running service before it.
public struct Stage: Sendable {
    public let database: TestDatabase
    public let service: RunningService
    /// The settings of the service, for a second instance.
    public let settings: [String: String]

    @TaskLocal private static var running: Stage?

    /// The stage of the suite that runs.
    public static var current: Stage {
        guard let running else { preconditionFailure("the suite has no .stage trait") }
        return running
    }

    /// An app with one key.
    public func tenant(role: String = "admin") async throws -> Tenant {
        Tenant(database: database, service: service, key: try await database.createKey(app: newID(), role: role))
    }

    /// A further instance on the same database.
    public func secondService(_ settings: [String: String] = [:]) async throws -> RunningService {
        try await RunningService.start(on: database, self.settings.merging(settings) { $1 })
    }

    fileprivate static func run(
        _ settings: [String: String], prepare: String?, _ body: @Sendable () async throws -> Void
    ) async throws {
        let database = try await TestDatabase.migrated()
        if let prepare { try await database.run(prepare) }
        let service = try await RunningService.start(on: database, settings)
        let stage = Stage(database: database, service: service, settings: settings)
        try await $running.withValue(stage) { try await body() }
        try await stage.close()
    }

    /// What must hold whatever a suite has done.
    private func close() async throws {
        service.terminate()
        let status = await service.exitStatus(within: .seconds(30))
        #expect(status == 0, "the service ends by SIGTERM: \(service.log.suffix(2000))")
        #expect(try await database.appsWithGaps() == [], "every chain counts 1, 2, 3 …")
        #expect(try await Trail.verify(database).isClean)
        let deadlocks = try await database.value(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        #expect(deadlocks == "0", "locks are taken in one order")
        #expect(SecretLedger.shared.leaks(in: service.log) == [], "no secret in the log")
        #expect(SecretLedger.shared.leaks(in: try await database.dump()) == [], "no secret in the database")
        try await database.drop()
    }
}

/// Gives a suite its ``Stage``.
public struct StageTrait: SuiteTrait, TestScoping {
    fileprivate let settings: [String: String]
    fileprivate let prepare: String?

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        await Slots.services.take()
        defer { Slots.services.giveBack() }
        try await Stage.run(settings, prepare: prepare, function)
    }
}

extension Trait where Self == StageTrait {
    /// A database and a service of the suite's own.
    ///
    /// - Parameters:
    ///   - settings: environment variables of the service.
    ///   - prepare: SQL that is run in the migrated database before the service starts.
    public static func stage(_ settings: [String: String] = [:], prepare: String? = nil) -> StageTrait {
        StageTrait(settings: settings, prepare: prepare)
    }

    /// The same, without a rate limit that tests would run into unless they set one.
    public static func unlimitedStage(_ settings: [String: String] = [:]) -> StageTrait {
        stage(["CUSTOMERD_RATE_LIMIT": "1000000"].merging(settings) { $1 })
    }
}
