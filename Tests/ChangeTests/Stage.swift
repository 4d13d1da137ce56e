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

    /// An app with one key.
    func tenant(role: String = "admin") async throws -> Tenant {
        Tenant(database: database, service: service, key: try await database.createKey(app: newID(), role: role))
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
        _ = await service.exitStatus(within: .seconds(30))
        #expect(try await database.appsWithGaps() == [], "every chain counts 1, 2, 3 …")
        #expect(try await ChainReport.of(database).isClean)
        try await database.drop()
    }
}

/// Gives a suite its ``Stage``, on which only so many of its tests play at one time.
struct StageTrait: SuiteTrait, TestTrait, TestScoping {
    let settings: [String: String]
    let prepare: String?

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
        try await test.isSuite ? Stage.run(settings, prepare: prepare, function) : function()
    }
}

extension Trait where Self == StageTrait {
    /// A database and a service of the suite's own, which doesn't run into its rate limit unless told so.
    ///
    /// - Parameters:
    ///   - settings: environment variables of the service.
    ///   - prepare: SQL that is run in the migrated database before the service starts.
    static func stage(_ settings: [String: String] = [:], prepare: String? = nil) -> StageTrait {
        StageTrait(settings: ["CUSTOMERD_RATE_LIMIT": "1000000"].merging(settings) { $1 }, prepare: prepare)
    }
}
