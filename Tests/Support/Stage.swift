import NIOConcurrencyHelpers
public import Testing

/// A migrated database and a running service in front of it, for a test or a whole suite.
///
/// There are two ways to get one. A suite with the trait ``Testing/Trait/stage(_:in:through:prepare:)`` shares one among
/// its tests, as ``current``. The tests of a suite with the trait ``Testing/Trait/stages`` open as many as they like, by
/// ``open(_:in:through:failpoints:descriptors:errors:isStarted:prepare:)``. Either way it is closed at the end: what
/// runs is stopped, what must hold is checked, and nothing stays behind.
public final class Stage: Sendable {
    /// Where its database is.
    public enum Place: Sendable {
        /// In the cluster of this test process.
        case shared
        /// In a cluster of the stage's own, which a test may stop.
        ///
        /// - Parameters:
        ///   - settings: PostgreSQL settings, as `name = value`.
        ///   - walMegabytes: see ``PrivateCluster``.
        case ownCluster(settings: [String] = [], walMegabytes: Int? = nil)
        /// In the primary of a pair, which is removed with the stage.
        case pair(ReplicatedPair)
    }

    /// How its service reaches the database.
    public enum Way: Sendable {
        case direct
        /// Through the stage's ``Stage/gate``.
        case gate
        /// By a libpq URL that is made of the database's name.
        case url(@Sendable (_ database: String) -> String)
    }

    /// Where what must hold is looked up in the end: after a failover another than the first.
    public var database: TestDatabase { state.withLockedValue { $0.database } }
    /// The instance that runs, or ran last.
    public var service: RunningService {
        guard let service = state.withLockedValue({ $0.services.last { !$0.isFurther }?.service }) else {
            preconditionFailure("the stage's service was never started")
        }
        return service
    }
    /// The settings of the service, for a second instance.
    public let settings: [String: String]

    private let gateOrNil: TCPGate?
    private let failpointsOrNil: Failpoints?
    private let clusters: [PrivateCluster]
    private let descriptors: (soft: Int, hard: Int)?
    private let errors: LogPipe?
    private let state: NIOLockedValueBox<State>

    private struct State {
        var database: TestDatabase
        var isTrailWhole = true
        var services: [(service: RunningService, isFurther: Bool)] = []
    }

    private init(
        _ database: TestDatabase, clusters: [PrivateCluster], settings: [String: String], gate: TCPGate?,
        failpoints: Failpoints?, descriptors: (soft: Int, hard: Int)?, errors: LogPipe?
    ) {
        self.settings = settings
        self.clusters = clusters
        self.descriptors = descriptors
        self.errors = errors
        gateOrNil = gate
        failpointsOrNil = failpoints
        state = NIOLockedValueBox(State(database: database))
    }

    /// What stands between the service and the database of a stage that was opened through ``Way/gate``.
    public var gate: TCPGate {
        guard let gateOrNil else { preconditionFailure("the stage has no gate") }
        return gateOrNil
    }

    /// The failpoints that the stage was opened with.
    public var failpoints: Failpoints {
        guard let failpointsOrNil else { preconditionFailure("the stage has no failpoints") }
        return failpointsOrNil
    }

    // MARK: - Opening

    @TaskLocal fileprivate static var running: Stage?
    @TaskLocal fileprivate static var opened: NIOLockedValueBox<[Stage]>?

    /// The stage of the suite that runs.
    public static var current: Stage {
        guard let running else { preconditionFailure("the suite has no .stage trait") }
        return running
    }

    /// Opens a stage that is closed at the end of the test. The suite has the trait ``Testing/Trait/stages`` or
    /// ``Testing/Trait/stage(_:in:through:prepare:)``.
    ///
    /// - Parameters:
    ///   - settings: environment variables of the service.
    ///   - failpoints: where the service stops when a test says so.
    ///   - descriptors: how many the service may have open; as many as we may when nil.
    ///   - errors: where the service's log goes instead of ``RunningService/log``.
    ///   - isStarted: whether the service runs from the beginning; see ``restart()``.
    ///   - prepare: SQL that is run in the migrated database before the service starts.
    public static func open(
        _ settings: [String: String] = [:], in place: Place = .shared, through way: Way = .direct,
        failpoints: Failpoints? = nil, descriptors: (soft: Int, hard: Int)? = nil, errors: LogPipe? = nil,
        isStarted: Bool = true, prepare: String? = nil
    ) async throws -> Stage {
        guard let opened else { preconditionFailure("the suite has no .stages trait") }
        let (database, clusters) = try await makeDatabase(in: place, needsSocket: way.isGate)
        var settings = settings.merging(failpoints?.environment ?? [:]) { $1 }
        var gate: TCPGate?
        switch way {
        case .direct: break
        case .url(let url): settings["DATABASE_URL"] = url(database.name)
        case .gate:
            guard let socket = database.cluster.socketPath else { throw NeverHappened("the cluster had a socket") }
            let made = try TCPGate(before: socket)
            settings["DATABASE_URL"] =
                "postgresql://customerd_service@127.0.0.1:\(made.port)/\(database.name)?sslmode=disable"
            gate = made
        }
        let stage = Stage(
            database, clusters: clusters, settings: settings, gate: gate, failpoints: failpoints,
            descriptors: descriptors, errors: errors)
        opened.withLockedValue { $0.append(stage) }
        if let prepare { try await database.run(prepare) }
        if isStarted { try await stage.restart() }
        return stage
    }

    private static func makeDatabase(
        in place: Place, needsSocket: Bool
    ) async throws -> (TestDatabase, clusters: [PrivateCluster]) {
        switch place {
        // The nodes of Citus are reached at their own addresses, past a gate.
        case .shared where !needsSocket || PrivateCluster.shared.socketPath != nil && !PrivateCluster.isDistributed:
            return (try await TestDatabase.migrated(), clusters: [])
        case .shared:
            return try await makeDatabase(in: .ownCluster(), needsSocket: needsSocket)
        case .ownCluster(let settings, let walMegabytes):
            let cluster = try await aside { try PrivateCluster(settings: settings, walMegabytes: walMegabytes) }
            return (try await TestDatabase.migrated(in: cluster), clusters: [cluster])
        case .pair(let pair):
            return (try await TestDatabase.migrated(in: pair.primary), clusters: [pair.standby, pair.primary])
        }
    }

    // MARK: - Instances and apps

    /// Starts the service: for the first time, or in the place of the instance that was killed, on the same port.
    ///
    /// - Parameter port: where it listens if it never ran; a free port when nil.
    public func restart(port: Int? = nil) async throws {
        let last = state.withLockedValue { $0.services.last { !$0.isFurther }?.service }
        let service = try await RunningService.start(
            on: database, settings, port: last?.port ?? port, descriptors: descriptors, errors: errors)
        state.withLockedValue { $0.services.append((service: service, isFurther: false)) }
    }

    /// A further instance on the same database, past the gate and the failpoints.
    public func secondService(_ settings: [String: String] = [:]) async throws -> RunningService {
        var own = self.settings.filter { $0.key != "CUSTOMERD_FAILPOINTS" }
        if gateOrNil != nil { own["DATABASE_URL"] = nil }
        let service = try await RunningService.start(on: database, own.merging(settings) { $1 })
        state.withLockedValue { $0.services.append((service: service, isFurther: true)) }
        return service
    }

    /// An app with one key.
    public func tenant(role: String = "admin", name: String = "tests") async throws -> Tenant {
        let key = try await database.createKey(app: newID(), role: role, name: name)
        return Tenant(database: database, service: service, key: key)
    }

    /// Loses what is on its way through the gate, and lets everything pass from then on.
    public func cut() {
        gate.cut()
        gate.release()
    }

    /// Says that another cluster has the database now.
    public func move(to cluster: PrivateCluster) {
        state.withLockedValue { $0.database = $0.database.on(cluster) }
    }

    /// Says that a test altered the trail, or made it up, so that its chains aren't checked in the end.
    public func leaveTrailBroken() {
        state.withLockedValue { $0.isTrailWhole = false }
    }

    // MARK: - Closing

    /// Stops what runs, and checks what must hold whatever a test has done.
    fileprivate func close() async throws {
        failpointsOrNil?.disarm()
        gateOrNil?.release()
        let (database, services) = state.withLockedValue { ($0.database, $0.services.map(\.service)) }
        for service in services where !service.wasKilled { service.terminate() }
        for service in services {
            let status = await service.exitStatus(within: .seconds(40))
            #expect(service.wasKilled || status == 0, "the service ends by SIGTERM: \(service.log.suffix(2000))")
        }
        let problems = try await database.brokenInvariants(
            logs: services.map(\.log), ofTrail: state.withLockedValue { $0.isTrailWhole })
        #expect(problems == [])
        if clusters.isEmpty { try await database.drop() }
        try await removeClusters()
    }

    /// Stops and removes everything after a test that has failed.
    fileprivate func abandon() async {
        let (database, services) = state.withLockedValue { ($0.database, $0.services.map(\.service)) }
        for service in services {
            print("the end of the log of the service on port \(service.port):\n\(service.log.suffix(4000))")
            await service.kill()
        }
        if clusters.isEmpty { try? await database.drop() }
        try? await removeClusters()
    }

    private func removeClusters() async throws {
        await database.closeSessions()
        for cluster in clusters { try await aside { try cluster.remove() } }
    }

    /// Runs a body, then closes what it has opened.
    fileprivate static func closing(_ body: @Sendable () async throws -> Void) async throws {
        let opened = NIOLockedValueBox<[Stage]>([])
        do {
            try await $opened.withValue(opened) { try await body() }
        } catch {
            for stage in opened.withLockedValue({ $0 }) { await stage.abandon() }
            throw error
        }
        for stage in opened.withLockedValue({ $0 }) {
            do {
                try await stage.close()
            } catch {
                Issue.record(error, "the stage couldn't be closed")
                await stage.abandon()
            }
        }
    }
}

extension Stage.Way {
    fileprivate var isGate: Bool { if case .gate = self { true } else { false } }
}

extension TestDatabase {
    /// What holds in every database whatever was done to it, and doesn't hold in this one; nothing is right.
    ///
    /// - Parameters:
    ///   - logs: what the services of this database have logged.
    ///   - ofTrail: whether the chains are looked at, too.
    public func brokenInvariants(logs: [String], ofTrail: Bool = true) async throws -> [String] {
        var problems: [String] = []
        if ofTrail {
            problems += try await appsWithGaps().map { "the chain of \($0) doesn't count 1, 2, 3 …" }
            let verdict = try await Trail.verify(self)
            if !verdict.isClean { problems.append("audit verify: \(verdict)") }
        }
        let deadlocks = try await value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        if deadlocks != "0" { problems.append("\(deadlocks ?? "no") deadlocks: locks weren't taken in one order") }
        problems += logs.flatMap { SecretLedger.shared.leaks(in: $0) }.map { "a secret in the log: \($0)" }
        problems += try await leaks().map { "a secret in the database: \($0)" }
        return problems
    }
}

/// Gives a suite its ``Stage``, or lets its tests open their own.
///
/// A suite waits for its turn, so that few have services running at one time. A suite's trait does that, not a test: a
/// test that waits keeps one of the places for tests that run at one time, which the suites whose turn it is need.
public struct StageTrait: SuiteTrait, TestTrait, TestScoping {
    /// Opens the stage that the tests of the suite share; nil when they open their own.
    fileprivate let open: (@Sendable () async throws -> Stage)?

    /// It reaches the suite's tests, too, which is what a trait of tests may do.
    public var isRecursive: Bool { true }

    public func scopeProvider(for test: Test, testCase: Test.Case?) -> StageTrait? { self }

    public func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        guard test.isSuite else { return try await testCase == nil ? function() : Stage.closing(function) }
        await Slots.services.take()
        defer { Slots.services.giveBack() }
        guard let open else { return try await function() }
        try await Stage.closing {
            let stage = try await open()
            try await Stage.$running.withValue(stage) { try await function() }
        }
    }
}

extension Trait where Self == StageTrait {
    /// A stage that the tests of a suite share.
    ///
    /// - Parameters:
    ///   - settings: environment variables of the service.
    ///   - prepare: SQL that is run in the migrated database before the service starts.
    public static func stage(
        _ settings: [String: String] = [:], in place: Stage.Place = .shared, through way: Stage.Way = .direct,
        prepare: String? = nil
    ) -> StageTrait {
        StageTrait { try await Stage.open(settings, in: place, through: way, prepare: prepare) }
    }

    /// The same, without a rate limit that tests would run into unless they set one.
    public static func unlimitedStage(
        _ settings: [String: String] = [:], in place: Stage.Place = .shared, prepare: String? = nil
    ) -> StageTrait {
        stage(["CUSTOMERD_RATE_LIMIT": "1000000"].merging(settings) { $1 }, in: place, prepare: prepare)
    }

    /// Lets the tests of a suite open stages of their own.
    public static var stages: StageTrait { StageTrait(open: nil) }
}
