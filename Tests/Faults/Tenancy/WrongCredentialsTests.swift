import LibPQ
import TestSupport
import Testing

/// Failed authentications cost neither the database nor the trail what they could.
@Suite("Wrong credentials", .serialized, .stages)
struct WrongCredentialsTests {
    private static let strangers = "00000000-0000-0000-0000-000000000000"

    private func call(secret: String, from address: String) -> HTTPCall {
        HTTPCall(
            "DELETE", "/api/v0/customers/\(newID())",
            headers: [
                ("x-client-key", "ck_wrong"), ("x-client-secret", secret), ("idempotency-key", newID()),
                ("x-forwarded-for", address),
            ])
    }

    private func open() async throws -> Stage {
        try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000000", "CUSTOMERD_TRUSTED_PROXIES": "127.0.0.1"])
    }

    @Test("from changing addresses leave 600 entries a minute, and their number in folded ones is exact")
    func cap() async throws {
        let database = try await TestDatabase.migrated()
        let minute = "2026-01-01T00:00:00Z"
        let count = """
            SELECT count(*) FILTER (WHERE service.count_stranger($1 || '-' || n, '{"action": "customer.delete", "request": {}}', $2::timestamptz)) AS single
            FROM generate_series(1, 200) AS n
            """

        let changing = try await simultaneously(5) { client in
            let connection = try await database.connect()
            let row = try await connection.query(
                Statement(count, [.text("client-\(client)"), .text(minute)]), deadline: .now + .seconds(60)
            ).row()
            await connection.close()
            return row.int("single") ?? 0
        }
        let insistent = try await database.value(
            """
            SELECT count(*) FILTER (WHERE service.count_stranger(
                'client-0-1', '{"action": "customer.delete", "request": {}}', '2026-01-01T00:01:00Z'))
            FROM generate_series(1, 50) AS n
            """)

        #expect(changing.reduce(0, +) == 600)
        #expect(insistent == "20")
        let floods = try await database.rows(
            """
            SELECT opened_at = $1 AS is_first, sum(folded) AS folded, count(*) <= 602 AS is_bounded
            FROM service.floods GROUP BY opened_at ORDER BY opened_at
            """, [.text(minute)])
        #expect(
            floods == [
                ["is_first": "t", "folded": "400", "is_bounded": "t"],
                ["is_first": "f", "folded": "30", "is_bounded": "t"],
            ])
        // One or two entries stand for those that have none, and what they say adds up.
        try await database.rows("SELECT service.recover($1, 5000)", [.text(Self.strangers)])
        let folded = try await database.value(
            "SELECT sum((request ->> 'folded')::int) FROM audit.entries WHERE outcome = 'UNAUTHENTICATED'")
        #expect(folded == "430")
        #expect(try await database.value("SELECT count(*) FROM service.floods") == "0")
        try await database.drop()
    }

    @Test("sent again and again are answered without the database, and all of them are counted")
    func counted() async throws {
        let stage = try await open()
        let requests = 400

        let answers = try await simultaneously(8) { _ in
            var statuses: [Int] = []
            for _ in 0..<(requests / 8) {
                let call = call(secret: "cs_wrong", from: "192.0.2.1")
                statuses.append(try await call.send(to: stage.service.port).status)
            }
            return statuses
        }.flatMap { $0 }

        #expect(Set(answers) == [401])
        try await eventually("all of them were recorded", within: .seconds(30)) {
            try await stage.database.rows(
                "UPDATE service.floods SET closes_at = now() - interval '1 minute' WHERE closes_at > now()")
            let recorded = try await stage.database.value(
                """
                SELECT sum(coalesce((request ->> 'folded')::int, 1)) FROM audit.entries WHERE app_id = $1
                """, [.text(Self.strangers)])
            return recorded == String(requests)
        }
        let single = try await stage.database.value(
            "SELECT count(*) FROM audit.entries WHERE app_id = $1 AND NOT coalesce(request ? 'folded', false)",
            [.text(Self.strangers)])
        // The minute may have changed in between.
        #expect(["20", "40"].contains(single))
    }

    @Test("that failed a moment ago aren't put to the database again; all others are")
    func remembered() async throws {
        let stage = try await open()
        let tenant = try await stage.tenant()
        let port = stage.service.port
        let wrong = call(secret: "cs_wrong", from: "192.0.2.1")
        _ = try await simultaneously(25) { _ in try await wrong.send(to: port) }

        // A moment may be over before the database can be closed, on a busy machine.
        try await eventually("it was answered while the keys couldn't be read") {
            _ = try await wrong.send(to: port)
            let lock = try await stage.database.begin("LOCK TABLE service.api_keys IN ACCESS EXCLUSIVE MODE")
            let answer = try? await wrong.send(to: port, within: .milliseconds(500))
            try await lock.rollBack()
            return answer?.status == 401
        }

        let lock = try await stage.database.begin("LOCK TABLE service.api_keys IN ACCESS EXCLUSIVE MODE")
        async let stranger = call(secret: "cs_other", from: "192.0.2.1").send(to: port)
        async let known = tenant.read(newID())
        try await stage.database.waitUntilBlocked(2)
        try await lock.rollBack()
        #expect(try await stranger.status == 401)
        #expect(try await known.status == 404)
    }

    @Test("that are new to the instance leave others their connections, though the database answers none of them")
    func strangersWait() async throws {
        let stage = try await open()
        let tenant = try await stage.tenant()
        let port = stage.service.port
        #expect(try await tenant.read(newID()).status == 404)
        // What looks strangers' floods up waits, what looks keys up doesn't.
        let lock = try await stage.database.begin("LOCK TABLE service.floods IN ACCESS EXCLUSIVE MODE")

        async let strangers = simultaneously(40) { number in
            try await call(secret: "cs_\(number)", from: "2001:db8:\(number)::1").send(to: port)
        }
        try await stage.database.waitUntilBlocked(2)
        for _ in 1...20 { #expect(try await tenant.read(newID()).status == 404) }
        let waiting = try await stage.database.value(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_service' AND wait_event_type = 'Lock'
              AND query LIKE '%service.admit(%'
            """)
        try await lock.rollBack()

        #expect(waiting == "2")
        #expect(Set(try await strangers.map(\.status)).isSubset(of: [401, 503]))
    }
}
