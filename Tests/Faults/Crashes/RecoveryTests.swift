import LibPQ
import TestSupport
import Testing

@Suite("Recovery", .unlimitedStage())
struct RecoveryTests {
    let stage = Stage.current

    private struct Recovered {
        var completed = 0
        var interrupted = 0
    }

    /// App by app, each in a transaction of its own, as the service does it.
    private func recover(_ limit: Int = 500, in database: TestDatabase) async throws -> Recovered {
        var recovered = Recovered()
        for app in try await database.rows("SELECT service.overdue() AS app").compactMap({ $0["app"] }) {
            do {
                let row = try await database.rows(
                    "SELECT completed, interrupted FROM service.recover($1, $2)", [.text(app), .int(limit)])[0]
                recovered.completed += Int(row["completed"] ?? "") ?? 0
                recovered.interrupted += Int(row["interrupted"] ?? "") ?? 0
            } catch let error as DatabaseError where error.sqlstate == .lockNotAvailable {
                // Live requests have the chain: the next run comes.
            }
        }
        return recovered
    }

    @Test("beside live deletions whose leases end all the time: no deadlock, and nothing but the truth")
    func besideLiveRequests() async throws {
        let failpoints = try Failpoints()
        let second = try await stage.secondService(failpoints.environment)
        var loads: [Load] = []
        for number in 0..<6 {
            let tenant = try await stage.tenant()
            let instance = number.isMultiple(of: 2) ? tenant : tenant.through(second)
            loads.append(try await Load(tenant: instance, customers: 40))
        }
        let all = loads
        // One at least isn't done when its lease ends; of the others it is chance.
        try failpoints.arm("admitted")

        async let runs: Void = withThrowingTaskGroup(of: Void.self) { group in
            for load in all { group.addTask { try await load.run(clients: 2) } }
            try await group.waitForAll()
        }
        try await failpoints.reach("admitted")
        while !all.allSatisfy(\.isDone) {
            // In the order in which all lock attempts.
            try await stage.database.rows(
                """
                UPDATE service.attempts AS a
                SET lease_expires_at = clock_timestamp()
                FROM (SELECT o.app_id, o.attempt_id
                      FROM service.attempts AS o
                      WHERE o.entry_seq IS NULL
                      ORDER BY o.app_id, o.attempt_id
                      FOR UPDATE SKIP LOCKED) AS running
                WHERE a.app_id = running.app_id AND a.attempt_id = running.attempt_id
                """)
            async let one = recover(in: stage.database)
            async let other = recover(in: stage.database)
            _ = try await (one, other)
            failpoints.disarm()
            try await Task.sleep(for: .milliseconds(.random(in: 5...25)))
        }
        try await runs

        // By us, or by the services themselves.
        let interrupted = try await stage.database.value(
            "SELECT count(*) > 0 FROM audit.entries WHERE outcome = 'INTERRUPTED'")
        #expect(interrupted == "t", "some were taken over")
        for load in all { try await load.expectTruth() }
        let deadlocks = try await stage.database.value(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        #expect(deadlocks == "0", "locks are taken in one order")
        second.terminate()
        #expect(await second.exitStatus(within: .seconds(20)) == 0)
    }

    /// Abandoned attempts of one app, half of them with a receipt.
    private func leaveBehind(_ count: Int, app: String = newID(), in database: TestDatabase) async throws {
        try await database.rows(
            """
            INSERT INTO service.attempts
                (app_id, attempt_id, key_id, action, admitted_at, fingerprint, entry, lease_expires_at, ttl,
                 outcome, status_code, body, finished_at)
            SELECT $1::uuid, id, gen_random_uuid(), 'customer.delete', now() - interval '16 seconds', '\\x00', '{}',
                   now() - interval '1 second', interval '1 day',
                   CASE WHEN is_finished THEN 'NOT_FOUND' END::service.outcome, CASE WHEN is_finished THEN 404 END,
                   CASE WHEN is_finished THEN '{}' END, CASE WHEN is_finished THEN now() END
            FROM (SELECT gen_random_uuid() AS id, n % 2 = 0 AS is_finished
                  FROM generate_series(1, $2::int) AS n) AS attempts
            """, [.text(app), .int(count)])
    }

    @Test("leaves alone what began since it looked at the clock")
    func beganMeanwhile() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        let other = try await database.begin("LOCK service.attempts IN EXCLUSIVE MODE")

        async let recovered = database.rows("SELECT interrupted FROM service.recover('\(app)', 500)")
        try await eventually("recovery waited for the table") { try await database.lockWaits == 1 }
        try await other.run(
            """
            INSERT INTO service.attempts
                (app_id, attempt_id, key_id, action, admitted_at, fingerprint, entry, lease_expires_at, ttl)
            VALUES ('\(app)', gen_random_uuid(), gen_random_uuid(), 'customer.delete', clock_timestamp(), '\\x00', '{}',
                    clock_timestamp() + interval '1 hour', interval '1 day')
            """)
        try await other.commit()

        #expect(try await recovered[0]["interrupted"] == "0")
        try await database.drop()
    }

    @Test("skips the attempts of a group that is appended one by one, for they are locked before any chain")
    func besidePoisonedGroup() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await leaveBehind(2, app: app, in: database)
        try await database.run(
            """
            DELETE FROM service.attempts WHERE outcome IS NULL;
            CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_advisory_xact_lock_shared(1);
                RETURN NEW;
            END $$;
            CREATE TRIGGER pause
                BEFORE INSERT ON audit.entries
                FOR EACH ROW WHEN (NEW.error_message LIKE '%could not be stored%')
                EXECUTE FUNCTION public.pause();
            """)
        let pause = try await database.begin("SELECT pg_advisory_xact_lock(1)")
        let group = """
            SELECT jsonb_agg(item ORDER BY item ? 'is_attempt') AS items
            FROM (SELECT jsonb_build_object('id', attempt_id, 'is_attempt', true) AS item
                  FROM service.attempts WHERE outcome IS NOT NULL
                  UNION ALL
                  SELECT jsonb_build_object(
                             'id', gen_random_uuid(), 'occurred_at', now(),
                             'action', 'customer.delete', 'outcome', 'FORBIDDEN', 'status_code', 403, 'ip', 'poison')
                  FROM service.attempts WHERE outcome IS NOT NULL) AS items
            """

        async let appended = database.rows("SELECT id FROM service.append_each('\(app)', (\(group)))")
        try await eventually("the poisoned entry was on its way") { try await database.lockWaits == 1 }
        let recovered = try await database.sqlstate(
            "SET lock_timeout = '3s'; SELECT service.recover('\(app)', 1)", as: "postgres")
        try await pause.rollBack()

        #expect(recovered == nil, "a session that holds a chain waits for no attempt")
        #expect(try await appended.count == 2)
        #expect(
            try await database.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == "0"
        )
        #expect(try await Trail.verify(database).isClean)
        try await database.drop()
    }

    @Test("continues for others when the chain of an app can't be appended to, says so, and comes back to it")
    func brokenChain() async throws {
        let stage = try await Stage.open()
        let (broken, other) = (try await stage.tenant(), try await stage.tenant())
        for tenant in [broken, other] { _ = try await tenant.delete(newID()) }
        let head = try await stage.database.rows(
            "DELETE FROM audit.heads WHERE app_id = $1 RETURNING seq, hash", [.text(broken.app)])[0]
        for app in [broken.app, other.app] { try await leaveBehind(20, app: app, in: stage.database) }
        try await stage.database.rows(
            """
            INSERT INTO service.floods (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
            VALUES ($1, 'RATE_LIMITED', 'key', now() - interval '2 minutes', now() - interval '1 minute', 101, 1,
                    '{"action": "customer.delete", "request": {}}')
            """, [.text(other.app)])

        try await eventually("the other app was recovered") { try await other.entries().count == 22 }
        try await eventually("it was said that an app fails") { try await failingApps(of: stage.service) == "1" }
        #expect(try await broken.entries().count == 1)
        #expect(stage.service.log.contains(broken.app))
        let answer = try await other.delete(newID())
        #expect(answer.status == 404)

        try await stage.database.rows(
            "INSERT INTO audit.heads (app_id, seq, hash) VALUES ($1, $2, $3)",
            [.text(broken.app), .text(head["seq"]), .text(head["hash"])])
        try await eventually("the broken app was recovered", within: .seconds(60)) {
            try await broken.entries().count == 21
        }
        try await eventually("no app fails") { try await failingApps(of: stage.service) == "0" }
    }

    private func failingApps(of service: RunningService) async throws -> String? {
        let metrics = try await HTTPCall("GET", "/metrics").send(to: service.port).body
        let line = metrics.split(separator: "\n").first { $0.hasPrefix("customerd_recovery_failing_apps ") }
        return line?.split(separator: " ").last.map { String($0).replacing(".0", with: "") }
    }

    @Test("what began before the clock stepped back is over: leases, and the windows of floods")
    func clockSteppedBack() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await leaveBehind(10, app: app, in: database)
        try await database.rows(
            """
            UPDATE service.attempts
            SET admitted_at = now() + interval '1 hour', lease_expires_at = now() + interval '1 hour 15 seconds'
            """)
        try await database.rows(
            """
            INSERT INTO service.floods (app_id, kind, subject, opened_at, closes_at, counted, folded, entry)
            VALUES ($1, 'RATE_LIMITED', 'key', now() + interval '1 hour', now() + interval '2 hours', 101, 1,
                    '{"action": "customer.delete", "request": {}}')
            """, [.text(app)])

        let recovered = try await recover(in: database)

        #expect(recovered.completed == 5)
        #expect(recovered.interrupted == 5)
        #expect(try await database.value("SELECT count(*) FROM audit.entries") == "11")
        #expect(try await Trail.verify(database).isClean)
        try await database.drop()
    }

    @Test("by two at once: the second doesn't wait for what the first has in hand, and each entry is written once")
    func twoAtOnce() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        try await leaveBehind(100, app: app, in: database)
        let first = try await database.begin("SELECT service.recover('\(app)', 500)")

        let second = try await recover(in: database)
        let during = try await database.value("SELECT count(*) FROM audit.entries")
        try await first.commit()

        #expect(second.completed == 0)
        #expect(second.interrupted == 0)
        #expect(during == "0")
        let entries = try await database.value("SELECT count(*) FROM audit.entries")
        #expect(entries == "100")
        #expect(try await database.appsWithGaps() == [])
        #expect(try await Trail.verify(database).isClean)
        try await database.drop()
    }

    @Test("by four at once, a few attempts each time: together they do everything once")
    func shared() async throws {
        let database = try await TestDatabase.migrated()
        try await leaveBehind(200, in: database)
        try await leaveBehind(200, in: database)

        let recovered = try await simultaneously(4) { _ in
            var total = Recovered()
            while try await database.value("SELECT count(*) FROM service.attempts WHERE entry_seq IS NULL") != "0" {
                let run = try await recover(30, in: database)
                total.completed += run.completed
                total.interrupted += run.interrupted
            }
            return total
        }

        #expect(recovered.map(\.interrupted).reduce(0, +) == 200)
        // One who was interrupted by a run that was full may be completed by a later one.
        #expect(recovered.map(\.completed).reduce(0, +) >= 200)
        let outcomes = try await database.rows(
            "SELECT outcome, count(*), count(DISTINCT id) AS distinct FROM audit.entries GROUP BY outcome ORDER BY 1")
        #expect(
            outcomes == [
                ["outcome": "INTERRUPTED", "count": "200", "distinct": "200"],
                ["outcome": "NOT_FOUND", "count": "200", "distinct": "200"],
            ])
        #expect(try await database.appsWithGaps() == [])
        #expect(try await Trail.verify(database).isClean)
        try await database.drop()
    }
}

extension TestDatabase {
    /// How many sessions wait for a lock.
    fileprivate var lockWaits: Int {
        get async throws {
            let waiting = try await value(
                """
                SELECT count(*)
                FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                """)
            return waiting.flatMap { Int($0) } ?? 0
        }
    }
}
