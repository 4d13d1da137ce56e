import AuditTrail
import Customers
public import LibPQ

/// What one check of ``Doctor`` has found.
public struct Finding: Sendable, Hashable {
    public enum Level: String, Sendable, Hashable, CaseIterable {
        case ok
        /// It works, but not as it should.
        case warning
        /// A promise of the service doesn't hold.
        case failure
    }

    /// What was checked: `schema`, `grants` …
    public let check: String
    public let level: Level
    /// What is wrong, and what to do about it.
    public let message: String

    public init(_ check: String, _ level: Level, _ message: String) {
        self.check = check
        self.level = level
        self.message = message
    }
}

/// Checks whether a database keeps what the service promises. It changes nothing.
public struct Doctor: Sendable {
    let connection: Connection
    let roles: DatabaseRoles
    let contextRetentionDays: Int
    let deadline: ContinuousClock.Instant

    /// - Parameters:
    ///   - connection: a session of any role that may read `service.migrations`; replication shows to superusers and
    ///     members of `pg_monitor` only.
    ///   - roles: the roles that should exist.
    ///   - contextRetentionDays: after which the instances are to erase the context of entries; 0 if they keep it.
    public init(
        connection: Connection, roles: DatabaseRoles, contextRetentionDays: Int = 0, deadline: ContinuousClock.Instant
    ) {
        self.connection = connection
        self.roles = roles
        self.contextRetentionDays = contextRetentionDays
        self.deadline = deadline
    }

    /// - Returns: at least one finding for every check, in a fixed order.
    /// - Throws: when the database can't be reached any more; a check that fails otherwise is a finding.
    public func callAsFunction() async throws(DatabaseError) -> [Finding] {
        var findings: [Finding] = []
        findings += try await examine("database", server)
        findings += try await examine("encoding", encoding)
        findings += try await examine("schema", schema)
        findings += try await examine("roles", existingRoles)
        findings += try await examine("grants", grants)
        findings += try await examine("privileges", privileges)
        findings += try await examine("creators", creators)
        findings += try await examine("trail", trailTriggers)
        findings += try await examine("chains", chains)
        findings += try await examine("webhooks", webhooks)
        findings += try await examine("references", protection)
        findings += try await examine("schedule", schedule)
        findings += try await examine("bulk", bulk)
        findings += try await examine("retention", retention)
        findings += try await examine("durability", durability)
        findings += try await examine("replication", replication)
        findings += try await examine("clock", clock)
        return findings
    }

    private func examine(
        _ check: String, _ body: () async throws(DatabaseError) -> [Finding]
    ) async throws(DatabaseError) -> [Finding] {
        do {
            return try await body()
        } catch {
            guard case .server(let error) = error else { throw error }
            return [Finding(check, .failure, "This check failed: \(error.message).")]
        }
    }

    func rows(_ sql: String, _ parameters: [Parameter] = []) async throws(DatabaseError) -> [Row] {
        try await connection.query(Statement(sql, parameters, prepared: false), deadline: deadline).rows
    }

    func setting(_ name: String) async throws(DatabaseError) -> String {
        try await rows("SELECT current_setting($1)", [.text(name)]).first?[0] ?? ""
    }

    /// Whether a table exists; without the schema most checks have nothing to examine.
    func exists(_ table: String) async throws(DatabaseError) -> Bool {
        try await rows("SELECT to_regclass($1) IS NOT NULL", [.text(table)]).first?.bool(0) == true
    }
}

extension Doctor {
    // MARK: - The server

    private func server() async throws(DatabaseError) -> [Finding] {
        let version = try await setting("server_version")
        let number = Int(try await setting("server_version_num")) ?? 0
        return [
            number >= 140_000
                ? Finding("database", .ok, "PostgreSQL \(version) answers.")
                : Finding("database", .failure, "PostgreSQL \(version) is too old: version 14 or later is needed.")
        ]
    }

    private func encoding() async throws(DatabaseError) -> [Finding] {
        let encoding = try await setting("server_encoding")
        return [
            encoding == "UTF8"
                ? Finding("encoding", .ok, "The database is encoded in UTF8.")
                : Finding(
                    "encoding", .failure,
                    "The database is encoded in \(encoding), which can't hold every name: it must be UTF8.")
        ]
    }

    private func schema() async throws(DatabaseError) -> [Finding] {
        do {
            let version = try await Schema.check(connection, deadline: deadline)
            let isNewer = version > Schema.current.version
            return [
                Finding(
                    "schema", .ok,
                    isNewer
                        ? "The schema has version \(version), newer than this customerd, which works with it."
                        : "The schema has version \(version), as this customerd needs it.")
            ]
        } catch {
            if case .database(let error) = error { throw error }
            return [Finding("schema", .failure, "\(error)")]
        }
    }

    /// Everything that ``Protection`` looks at, with an `ok` for each check that found nothing.
    private func protection() async throws(DatabaseError) -> [Finding] {
        guard try await exists("public.customers") else { return [] }
        let found = try await Protection(connection: connection, role: roles.service, deadline: deadline).findings()
        let keys = try await rows(
            """
            SELECT count(*)
            FROM pg_constraint
            WHERE contype = 'f' AND confrelid = 'public.customers'::regclass AND conparentid = 0
            """
        ).first?.int(0)
        let healthy = [
            ("references", "All \(keys ?? 0) foreign keys on customers prevent deletions and are indexed."),
            ("triggers", "No trigger, rule or row-level security stands between the service and customers."),
            (
                "settings",
                "The settings of the service's role neither weaken the protocol nor log its statements' parameters."
            ),
        ]
        return healthy.flatMap { check, message in
            let findings = found.filter { $0.check == check }
            return findings.isEmpty ? [Finding(check, .ok, message)] : findings
        }
    }

    /// The triggers must fire ALWAYS, or `session_replication_role` would silence them.
    private func trailTriggers() async throws(DatabaseError) -> [Finding] {
        guard try await exists("audit.entries") else { return [] }
        let findings = try await rows(
            """
            SELECT w.name, w.relation, t.tgenabled
            FROM (VALUES ('entries_are_never_changed', 'audit.entries'),
                         ('entries_are_never_truncated', 'audit.entries'),
                         ('nodes_are_never_changed', 'audit.nodes'),
                         ('nodes_are_never_truncated', 'audit.nodes'),
                         ('checkpoints_are_never_changed', 'audit.checkpoints'),
                         ('checkpoints_are_never_truncated', 'audit.checkpoints')) AS w (name, relation)
            LEFT JOIN pg_trigger AS t ON t.tgrelid = to_regclass(w.relation) AND t.tgname = w.name
            WHERE t.tgenabled IS DISTINCT FROM 'A'
            ORDER BY w.relation, w.name
            """
        ).map { row in
            let (name, table) = (row[0] ?? "", row[1] ?? "")
            return row[2] == nil
                ? Finding("trail", .failure, "The trigger \(name) is missing, so \(table) isn't append-only.")
                : Finding(
                    "trail", .failure,
                    """
                    The trigger \(name) can be bypassed: ALTER TABLE \(table) ENABLE ALWAYS TRIGGER \(name).
                    """)
        }
        return findings.isEmpty
            ? [Finding("trail", .ok, "The trail and its tree are append-only, for their owner too.")] : findings
    }

    /// A chain whose head is missing or wrong takes no further entries.
    private func chains() async throws(DatabaseError) -> [Finding] {
        guard try await exists("audit.entries"), try await exists("audit.heads") else { return [] }
        let findings = try await rows(
            """
            -- From one app to the next by the primary key, without reading all entries.
            WITH RECURSIVE apps (app_id) AS (
                (SELECT e.app_id
                 FROM audit.entries AS e
                 ORDER BY e.app_id
                 LIMIT 1)
                UNION ALL
                SELECT (SELECT e.app_id
                        FROM audit.entries AS e
                        WHERE e.app_id > a.app_id
                        ORDER BY e.app_id
                        LIMIT 1)
                FROM apps AS a
                WHERE a.app_id IS NOT NULL)
            SELECT coalesce(last.app_id, h.app_id), h.seq, last.seq
            FROM (SELECT a.app_id, e.seq, e.hash
                  FROM apps AS a
                  CROSS JOIN LATERAL (
                      SELECT e.seq, e.hash
                      FROM audit.entries AS e
                      WHERE e.app_id = a.app_id
                      ORDER BY e.seq DESC
                      LIMIT 1) AS e) AS last
            FULL JOIN audit.heads AS h ON h.app_id = last.app_id
            WHERE (h.seq, h.hash) IS DISTINCT FROM (last.seq, last.hash)
              AND NOT (h.seq = 0 AND last.seq IS NULL)
            ORDER BY 1
            """
        ).map { row in
            let app = row[0] ?? ""
            let problem =
                switch (row.int(1), row.int(2)) {
                case (nil, let last): "has \(last ?? 0) entries but no head"
                case (let head?, let last) where head == last: "has a head with another hash than entry \(head)"
                case (let head?, let last): "has a head at entry \(head), but its last entry is \(last ?? 0)"
                }
            return Finding(
                "chains", .failure,
                """
                The chain of app \(app) \(problem). Check it with `customerd audit verify --app \(app)`, then restore its \
                head from a backup.
                """)
        }
        return findings.isEmpty ? [Finding("chains", .ok, "Every chain has its head.")] : findings
    }

    /// Webhooks whose events don't arrive: they fail, or failed until they were disabled, by 410 or after three days.
    private func webhooks() async throws(DatabaseError) -> [Finding] {
        guard try await exists("service.webhooks") else { return [] }
        let findings = try await rows(
            """
            SELECT w.app_id, w.id, w.failures, service.rfc3339(w.failing_since), d.error, w.status
            FROM service.webhooks AS w
            LEFT JOIN LATERAL (
                SELECT o.error
                FROM service.webhook_deliveries AS o
                WHERE o.app_id = w.app_id AND o.webhook_id = w.id
                ORDER BY o.number DESC
                LIMIT 1) AS d ON true
            WHERE w.status = 'DISABLED' AND w.failing_since IS NOT NULL OR w.failing_since < now() - interval '10 minutes'
            ORDER BY w.failing_since
            """
        ).map { row in
            Finding(
                "webhooks", .warning,
                """
                Webhook \(row[1] ?? "") of app \(row[0] ?? "") \(row[5] == "DISABLED" ? "is disabled, and" : "has") \
                failed \(row[2] ?? "") times since \(row[3] ?? ""): \(row[4] ?? "the reason isn't known").
                """)
        }
        return findings.isEmpty
            ? [Finding("webhooks", .ok, "No webhook has failed for more than ten minutes, or until it was disabled.")]
            : findings
    }

    private func durability() async throws(DatabaseError) -> [Finding] {
        var findings: [Finding] = []
        for name in ["fsync", "full_page_writes"] where try await setting(name) == "off" {
            findings.append(
                Finding("durability", .failure, "\(name) is off: a crash of the machine can lose or corrupt the trail.")
            )
        }
        if try await setting("synchronous_commit") == "off" {
            findings.append(
                Finding(
                    "durability", .warning,
                    """
                    synchronous_commit is off by default: the service turns it on for its own commits, but those of other \
                    clients may be lost in a crash.
                    """))
        }
        return findings.isEmpty ? [Finding("durability", .ok, "Committed transactions survive a crash.")] : findings
    }

    private func replication() async throws(DatabaseError) -> [Finding] {
        let standbys = try await rows(
            """
            SELECT application_name
            FROM pg_catalog.pg_stat_replication
            WHERE coalesce(sync_state, 'async') = 'async'
            ORDER BY application_name
            """
        ).map { $0[0] ?? "" }
        guard !standbys.isEmpty else { return [Finding("replication", .ok, "There is no asynchronous standby.")] }
        return [
            Finding(
                "replication", .warning,
                """
                A standby follows asynchronously (\(standbys.joined(separator: ", "))): a failover to it may lose the \
                last deletions together with their entries.
                """)
        ]
    }

    // MARK: - What instances do in the background

    /// Whether this role may read a table of the protocol: owners alone may.
    private func mayRead(_ table: String) async throws(DatabaseError) -> Bool {
        try await rows("SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)", [.text(table)])
            .first?.bool(0) == true
    }

    private func schedule() async throws(DatabaseError) -> [Finding] {
        guard try await mayRead("service.scheduled_deletions") else { return [] }
        let late = try await rows(
            """
            SELECT count(*)
            FROM service.scheduled_deletions
            WHERE status = 'SCHEDULED' AND delete_at < clock_timestamp() - interval '1 minute'
            """
        ).first?.int(0)
        guard let late, late > 0 else { return [Finding("schedule", .ok, "No scheduled deletion is late.")] }
        return [
            Finding(
                "schedule", .warning,
                """
                Scheduled deletions that are late: \(late). Is an instance running? Its log says what keeps it from \
                deleting.
                """)
        ]
    }

    private func bulk() async throws(DatabaseError) -> [Finding] {
        guard try await mayRead("service.bulk_deletions") else { return [] }
        let waiting = try await rows(
            """
            SELECT count(*)
            FROM service.bulk_deletions
            WHERE NOT is_over AND try_after < clock_timestamp() - interval '10 minutes'
            """
        ).first?.int(0)
        guard let waiting, waiting > 0 else { return [Finding("bulk", .ok, "No bulk deletion stands still.")] }
        return [
            Finding(
                "bulk", .warning,
                """
                Bulk deletions that have stood still for ten minutes: \(waiting). Is an instance running? Its log says \
                what keeps it from going on.
                """)
        ]
    }

    /// Contexts that should have been erased: those that an entry declares to be, and those that are too old.
    private func retention() async throws(DatabaseError) -> [Finding] {
        guard try await exists("audit.heads"), try await mayRead("service.retentions") else { return [] }
        let findings = try await rows(
            """
            SELECT h.app_id, e.seq, e.seq <= r.declared_to
            FROM audit.heads AS h
            LEFT JOIN service.retentions AS r ON r.app_id = h.app_id
            CROSS JOIN LATERAL (
                SELECT o.seq, o.occurred_at
                FROM audit.entries AS o
                WHERE o.app_id = h.app_id AND o.seq > coalesce(r.erased_to, 0) AND o.action <> 'trail.retention'
                ORDER BY o.seq
                LIMIT 1) AS e
            LEFT JOIN LATERAL (
                SELECT max(o.occurred_at) AS at
                FROM audit.entries AS o
                WHERE o.app_id = h.app_id AND o.action = 'trail.retention' AND o.outcome = 'SUCCEEDED') AS declared ON true
            WHERE e.seq <= r.declared_to AND declared.at < clock_timestamp() - interval '2 hours'
               OR $1::int > 0 AND e.occurred_at < clock_timestamp() - make_interval(days => $1, hours => 2)
            ORDER BY h.app_id
            """, [.int(contextRetentionDays)]
        ).map { row in
            let reason =
                row.bool(2) == true
                ? "an entry declares that it is erased" : "it is older than \(contextRetentionDays) days"
            return Finding(
                "retention", .warning,
                """
                The chain of app \(row[0] ?? "") still has the context of entry \(row[1] ?? ""), although \(reason). Is an \
                instance running with CUSTOMERD_CONTEXT_RETENTION_DAYS? Its log says what keeps it from erasing.
                """)
        }
        return findings.isEmpty
            ? [Finding("retention", .ok, "No entry keeps its context longer than it should.")] : findings
    }

    private func clock() async throws(DatabaseError) -> [Finding] {
        let before = Timestamp.now().microseconds
        let there = try await rows(
            "SELECT trunc(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        ).first?.int(0)
        let after = Timestamp.now().microseconds
        let skew = Double(Int64(there ?? 0) - (before + after) / 2) / 1_000_000
        guard abs(skew) > 2 else {
            return [Finding("clock", .ok, "The clocks of the database and of this machine agree.")]
        }
        let direction = skew > 0 ? "ahead of" : "behind"
        return [
            Finding(
                "clock", .warning,
                "The database's clock is \(Int(abs(skew).rounded())) seconds \(direction) this machine's.")
        ]
    }
}
