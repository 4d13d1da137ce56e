import Foundation
import TestSupport
import Testing

/// What a suite works with: a migrated database of its own, and a running service before it.
struct Stage: Sendable {
    let database: TestDatabase
    let service: RunningService
    /// The settings of the service, for a second instance.
    let settings: [String: String]
    /// How many tests of the suite may run at one time.
    fileprivate let slots = Slots(count: 4)

    @TaskLocal private static var running: Stage?

    /// The stage of the suite that runs.
    static var current: Stage {
        guard let running else { preconditionFailure("the suite has no .stage trait") }
        return running
    }

    /// An app with the key of an admin.
    func tenant() async throws -> Tenant {
        Tenant(database: database, service: service, key: try await database.createKey(app: newID()))
    }

    /// A further instance on the same database.
    func secondService() async throws -> RunningService {
        try await RunningService.start(on: database, settings)
    }

    /// Expects that nothing in the whole database is about a person.
    func expectNoTrace(of person: Person, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let traces = person.traces(in: try await database.dump())
        #expect(traces == [], sourceLocation: sourceLocation)
    }

    fileprivate static func run(
        _ settings: [String: String], _ body: @Sendable () async throws -> Void
    ) async throws {
        let database = try await TestDatabase.migrated()
        let service = try await RunningService.start(on: database, settings)
        let stage = Stage(database: database, service: service, settings: settings)
        try await $running.withValue(stage) { try await body() }
        try await stage.close()
    }

    /// What must hold whatever a suite has done.
    private func close() async throws {
        service.terminate()
        _ = await service.exitStatus(within: .seconds(30))
        #expect(try await database.appsWithGaps() == [], "every chain counts 1, 2, 3 …")
        #expect(try await ChainReport.of(database).isClean)
        let deadlocks = try await database.value(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        #expect(deadlocks == "0", "locks are taken in one order")
        try await database.drop()
    }
}

/// Gives a suite its ``Stage``, on which only so many of its tests play at one time.
struct StageTrait: SuiteTrait, TestTrait, TestScoping {
    let settings: [String: String]

    var isRecursive: Bool { true }

    func scopeProvider(for test: Test, testCase: Test.Case?) -> StageTrait? {
        test.isSuite || testCase != nil ? self : nil
    }

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let slots = test.isSuite ? Slots.services : Stage.current.slots
        await slots.take()
        defer { slots.giveBack() }
        try await test.isSuite ? Stage.run(settings, function) : function()
    }
}

extension Trait where Self == StageTrait {
    /// A database and a service of the suite's own, which doesn't run into its rate limit unless told so.
    ///
    /// - Parameter settings: environment variables of the service.
    static func stage(_ settings: [String: String] = [:]) -> StageTrait {
        StageTrait(settings: ["CUSTOMERD_RATE_LIMIT": "1000000"].merging(settings) { $1 })
    }
}
