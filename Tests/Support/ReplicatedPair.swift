import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Two clusters: a primary, and a standby that follows it.
public struct ReplicatedPair: Sendable {
    public let primary: PrivateCluster
    public let standby: PrivateCluster

    /// Starts both.
    ///
    /// - Parameter isSynchronous: whether a COMMIT waits for the standby.
    public static func start(isSynchronous: Bool) async throws -> ReplicatedPair {
        let primary = try await aside { try PrivateCluster() }
        let standby = try await aside { try PrivateCluster(standbyOf: primary) }
        let pair = ReplicatedPair(primary: primary, standby: standby)
        if isSynchronous { try await primary.set("synchronous_standby_names", "standby") }
        try await eventually("the standby followed") {
            let following = """
                SELECT count(*)
                FROM pg_stat_replication
                WHERE state = 'streaming' AND sync_state = '\(isSynchronous ? "sync" : "async")'
                """
            return try await primary.psql(following).hasPrefix("1")
        }
        return pair
    }

    /// A libpq URL that names both and wants the one that can be written to.
    public func url(database: String, user: String = "customerd_service") -> String {
        let addresses = [primary, standby].compactMap { $0.address }
        let (hosts, ports) = (addresses.map { $0.host }, addresses.map { $0.port })
        let list = "host=\(hosts.joined(separator: ","))&port=\(ports.joined(separator: ","))"
        return "postgresql://\(user)@/\(database)?\(list)&target_session_attrs=read-write"
    }

    /// Returns when the standby has all that the primary has.
    public func waitUntilEven() async throws {
        let position = try await primary.psql("SELECT pg_current_wal_flush_lsn()").trimmingCharacters(in: .newlines)
        try await eventually("the standby was even with the primary") {
            try await standby.psql("SELECT pg_last_wal_replay_lsn() >= '\(position)'").hasPrefix("t")
        }
    }

    // MARK: - A standby that doesn't answer

    /// Stops the process that receives and acknowledges the primary's WAL.
    ///
    /// - Returns: what to wake it with.
    public func silenceStandby() async throws -> Silence {
        let pid = try await standby.psql("SELECT pid FROM pg_stat_wal_receiver").trimmingCharacters(in: .newlines)
        guard let pid = pid_t(pid), kill(pid, SIGSTOP) == 0 else { throw NeverHappened("the standby received WAL") }
        return Silence(pid: pid)
    }

    public struct Silence: Sendable {
        let pid: pid_t

        public func end() {
            kill(pid, SIGCONT)
        }
    }

    /// How many sessions of the service sit inside a COMMIT, waiting for the standby.
    public func heldCommits() async throws -> Int {
        let held = """
            SELECT count(*) FROM pg_stat_activity WHERE usename = 'customerd_service' AND wait_event = 'SyncRep'
            """
        return Int(try await primary.psql(held).trimmingCharacters(in: .newlines)) ?? 0
    }
}
