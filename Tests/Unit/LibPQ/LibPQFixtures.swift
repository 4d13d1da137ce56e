import Foundation
import Logging
import TestSupport

@testable import LibPQ

extension ContinuousClock.Instant {
    /// Later than anything that works takes.
    static var soon: ContinuousClock.Instant { .now + .seconds(20) }
}

extension SQLState {
    static let checkViolation: SQLState = "23514"
    static let syntaxError: SQLState = "42601"
    static let adminShutdown: SQLState = "57P01"
}

extension Connection {
    /// A session of the shared cluster.
    static func open(
        user: String = "postgres", preparesStatements: Bool = true, through gate: TCPGate? = nil
    ) async throws(DatabaseError) -> Connection {
        try await connect(.shared(user: user, preparesStatements: preparesStatements, through: gate), deadline: .soon)
    }

    /// The process that serves the session, as `pg_stat_activity` and `pg_terminate_backend` name it.
    func pid() async throws(DatabaseError) -> Int32 {
        try await value("SELECT pg_backend_pid()").flatMap { Int32($0) } ?? 0
    }

    /// The only value of the only row.
    func value(_ sql: String, _ parameters: [Parameter] = []) async throws(DatabaseError) -> String? {
        try await query(Statement(sql, parameters), deadline: .soon).rows.first?[0]
    }

    func run(_ sql: String) async throws(DatabaseError) {
        try await script(sql, deadline: .soon)
    }
}

extension ConnectionSettings {
    static func shared(
        user: String = "postgres", preparesStatements: Bool = true, through gate: TCPGate? = nil
    ) -> ConnectionSettings {
        let direct = PrivateCluster.shared.url(user: user)
        let conninfo = gate.map { "postgresql://\(user)@127.0.0.1:\($0.port)/postgres?sslmode=disable" } ?? direct
        return ConnectionSettings(conninfo: conninfo, preparesStatements: preparesStatements)
    }
}

extension ConnectionPool {
    static func make(
        _ settings: ConnectionSettings = .shared(), configuration: PoolConfiguration = PoolConfiguration(size: 2)
    ) -> ConnectionPool {
        ConnectionPool(
            settings: settings, configuration: configuration,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }
}

extension PrivateCluster {
    /// Ends a session from outside, and returns when its process is gone.
    static func terminate(_ pid: Int32) async throws {
        let killer = try await Connection.open()
        _ = try await killer.value("SELECT pg_terminate_backend($1::int, 5000)", [.int(pid)])
        await killer.close()
    }
}

/// A lock on the server that a statement waits for until the test releases it.
struct Barrier {
    private let key = Int.random(in: 0...Int.max)
    private let holder: Connection

    init() async throws {
        holder = try await Connection.open()
        _ = try await holder.value("SELECT pg_advisory_lock($1::bigint)", [.int(key)])
    }

    /// Goes into the FROM clause of the statement that is to wait.
    var sql: String { "pg_advisory_lock(\(key))" }

    /// Returns when the session waits at the barrier.
    func isReached(by pid: Int32) async throws {
        let sql = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = $1::int"
        try await eventually("the session waits at the barrier") {
            try await holder.value(sql, [.int(pid)]) != nil
        }
    }

    /// Returns when so many sessions wait at the barrier.
    func isReached(byMany count: Int) async throws {
        let sql = """
            SELECT count(*) FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted AND classid = $1::bigint::oid AND objid = $2::bigint::oid
            """
        try await eventually("\(count) sessions wait at the barrier") {
            try await holder.value(sql, [.int(key >> 32), .int(key & 0xFFFF_FFFF)]) == String(count)
        }
    }

    func open() async {
        await holder.close()
    }
}

/// A name for a table or a role that no other test uses.
func uniqueName(_ prefix: String) -> String {
    "\(prefix)_\(UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: ""))"
}

extension TransactionOutcome {
    var committedResults: [QueryResult]? {
        if case .committed(let results) = self { results } else { nil }
    }

    var rollback: (error: DatabaseError, completed: [QueryResult])? {
        if case .rolledBack(let error, let completed) = self { (error, completed) } else { nil }
    }

    var doubt: DatabaseError? {
        if case .inDoubt(let error) = self { error } else { nil }
    }
}

/// Whether there is a Unix socket that a gate can stand before.
let canUseGate = PrivateCluster.shared.socketPath != nil

extension TCPGate {
    static func beforeSharedCluster() throws -> TCPGate {
        try TCPGate(before: PrivateCluster.shared.socketPath ?? "")
    }
}
