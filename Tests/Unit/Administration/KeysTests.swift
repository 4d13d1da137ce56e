import Customers
import Foundation
import LibPQ
import TestSupport
import Testing

/// `customerd keys`: secrets that are shown once and never kept.
@Suite("Keys")
struct KeysTests {
    private struct Issued: Decodable {
        enum CodingKeys: String, CodingKey {
            case role
            case key = "client_key"
            case secret = "client_secret"
            case app = "app_id"
        }

        var key: String
        var secret: String
        var app: String
        var role: String
    }

    private enum Shared {
        static let database = Task { try await TestDatabase.migrated() }
    }

    private func create(_ database: TestDatabase, app: String = newID(), _ more: [String] = []) async throws -> Issued {
        try await database.json(["keys", "create", "--app", app, "--role", "admin", "--name", "test"] + more)
    }

    /// Whether a secret opens the door, as `service.admit` sees it.
    private func opens(_ database: TestDatabase, _ key: String, _ secret: String) async throws -> Bool {
        let verdict = try await database.value(
            """
            SELECT verdict
            FROM service.authorize($1, sha256(convert_to($2, 'UTF8')), '{customers:read}', 1, 1000, '1 minute', true,
                                   '127.0.0.1')
            """,
            [.text(key), .text(secret)]
        )
        return verdict == "ADMITTED"
    }

    /// Lets the hour pass that a key or an old secret has left.
    private func pass(_ database: TestDatabase, _ key: String, _ column: String) async throws {
        let left = try await database.value(
            """
            UPDATE service.api_keys AS k
            SET \(column) = clock_timestamp() - interval '1 microsecond'
            FROM service.api_keys AS before
            WHERE k.client_key = $1 AND before.client_key = $1
            RETURNING extract(epoch FROM before.\(column) - clock_timestamp()) BETWEEN 3000 AND 3600
            """,
            [.text(key)]
        )
        #expect(left == "t", "it had an hour left")
    }

    @Test("create answers with key, secret, app and role, in that order, and keeps only a digest")
    func create() async throws {
        let database = try await Shared.database.value
        let app = newID()

        let ended = try await database.run(
            ["keys", "create", "--app", app.uppercased(), "--role", "editor", "--name", "Müller & Söhne", "--json"])
        let issued = try ended.decoded(Issued.self)

        #expect(ended.status == 0)
        #expect(ended.memberNames == ["client_key", "client_secret", "app_id", "role"])
        #expect(issued.key.wholeMatch(of: /ck_[A-Za-z0-9_-]{32}/) != nil)
        #expect(issued.secret.wholeMatch(of: /cs_[A-Za-z0-9_-]{43}/) != nil)
        #expect(issued.app == app)
        #expect(issued.role == "editor")
        #expect(try await opens(database, issued.key, issued.secret))
        #expect(try await !opens(database, issued.key, issued.secret + "x"))
        #expect(!(try await database.dump()).contains(issued.secret))
    }

    @Test("no two keys or secrets are alike")
    func unique() async throws {
        let database = try await Shared.database.value
        let app = newID()

        var seen: Set<String> = []
        for _ in 0..<10 {
            let issued = try await create(database, app: app)
            seen.formUnion([issued.key, issued.secret])
        }

        #expect(seen.count == 20)
    }

    private static let valid = ["--app", "de300000-0000-4000-8000-000000000001", "--role", "admin", "--name", "n"]

    @Test(
        "a bad app, role, name, number, time, network or permission is bad usage",
        arguments: [
            ["--app", "x", "--role", "admin", "--name", "n"],
            ["--app", "00000000-0000-0000-0000-000000000000", "--role", "admin", "--name", "n"],
            ["--app", "de300000-0000-4000-8000-000000000001", "--role", "root", "--name", "n"],
            ["--app", "de300000-0000-4000-8000-000000000001", "--role", "admin", "--name", ""],
            ["--app", "de300000-0000-4000-8000-000000000001", "--role", "admin", "--name", "n", "--expires-in", "0"],
            ["--role", "admin", "--name", "n"],
            valid + ["--expires", "tomorrow"],
            valid + ["--expires", "2020-01-01T00:00:00Z"],
            valid + ["--expires", "2999-01-01T00:00:00Z", "--expires-in", "60"],
            valid + ["--rate-limit", "0"],
            valid + ["--allow", "10.0.0.0/33"],
            valid + ["--allow", "10.0.0.0/8,192.0.2.1"],
            valid + ["--allow", ""],
            valid + ["--permission", "customers:fly"],
            valid + ["--permission", "switched-off"],
            [
                "--app", "de300000-0000-4000-8000-000000000001", "--role", "viewer", "--name", "n", "--permission",
                "customers:delete",
            ],
        ])
    func badUsage(arguments: [String]) async throws {
        let database = try await Shared.database.value

        let ended = try await database.run(["keys", "create"] + arguments)

        #expect(ended.status == 2)
        if arguments.contains("root") {
            for role in Role.allCases { #expect(ended.errors.contains(role.rawValue)) }
        }
    }

    @Test(
        "a name that the API would refuse is bad usage, in a sentence",
        arguments: [
            "a\u{1b}[31mb", "a\nb", "a\u{202e}b", "a\u{2066}b", "\u{9b}2J", "   ", "\u{200b}", "\u{2800}",
            String(repeating: "e\u{301}", count: 150),
        ])
    func badNames(name: String) async throws {
        let database = try await Shared.database.value
        let app = newID()

        let ended = try await database.run(["keys", "create", "--app", app, "--role", "admin", "--name", name])

        #expect(ended.status == 2)
        #expect(ended.errors.contains("--name must"))
        #expect(
            try await database.value("SELECT count(*) FROM service.api_keys WHERE app_id = $1", [.text(app)]) == "0")
    }

    @Test("a stored name that acts on a terminal is shown escaped, on one line")
    func storedNames() async throws {
        let database = try await Shared.database.value
        let app = newID()
        let issued = try await create(database, app: app)
        try await database.rows(
            "UPDATE service.api_keys SET name = $2 WHERE client_key = $1",
            [.text(issued.key), .text("a\u{1b}[2J\nck_forged\u{202e}b\u{9b}")])

        let text = try await database.customerd(["keys", "list", "--app", app])

        #expect(text.contains(#"a\u{1B}[2J\u{A}ck_forged\u{202E}b\u{9B}"#))
        #expect(text.split(separator: "\n").count == 1)
        #expect(!text.unicodeScalars.contains { $0 != "\n" && TextRule.isActive($0) })
    }

    @Test("an expired key opens nothing, and can't be rotated")
    func expiry() async throws {
        let database = try await Shared.database.value
        let issued = try await create(database, ["--expires-in", "3600"])
        #expect(try await opens(database, issued.key, issued.secret))

        try await pass(database, issued.key, "expires_at")

        #expect(try await !opens(database, issued.key, issued.secret))
        #expect(try await database.run(["keys", "rotate", issued.key, "--overlap", "0"]).status == 1)
    }

    @Test("after a rotation both secrets work for the overlap, and one afterwards")
    func overlap() async throws {
        let database = try await Shared.database.value
        let old = try await create(database)

        let new = try await database.json(["keys", "rotate", old.key, "--overlap", "3600"], as: Issued.self)

        #expect(new.key == old.key && new.app == old.app && new.role == old.role)
        #expect(new.secret != old.secret)
        #expect(try await opens(database, old.key, old.secret))
        #expect(try await opens(database, new.key, new.secret))
        try await pass(database, old.key, "previous_secret_expires_at")
        #expect(try await !opens(database, old.key, old.secret))
        #expect(try await opens(database, new.key, new.secret))
    }

    @Test("without an overlap the old secret ends at once")
    func noOverlap() async throws {
        let database = try await Shared.database.value
        let old = try await create(database)
        let middle = try await database.json(["keys", "rotate", old.key, "--overlap", "60"], as: Issued.self)

        let new = try await database.json(["keys", "rotate", old.key, "--overlap", "0"], as: Issued.self)

        for secret in [old.secret, middle.secret] { #expect(try await !opens(database, old.key, secret)) }
        #expect(try await opens(database, new.key, new.secret))
    }

    @Test("a revoked key opens nothing, stays revoked, and can't be rotated")
    func revoke() async throws {
        let database = try await Shared.database.value
        let issued = try await create(database)

        let first = try await database.run(["keys", "revoke", issued.key, "--json"])
        let revokedAt = "SELECT revoked_at FROM service.api_keys WHERE client_key = $1"
        let before = try await database.value(revokedAt, [.text(issued.key)])
        let second = try await database.run(["keys", "revoke", issued.key])
        let rotated = try await database.run(["keys", "rotate", issued.key, "--overlap", "0"])

        #expect(first.status == 0 && second.status == 0)
        #expect(try await database.value(revokedAt, [.text(issued.key)]) == before)
        #expect(rotated.status == 1)
        #expect(try await !opens(database, issued.key, issued.secret))
    }

    @Test("a key that doesn't exist is a negative answer", arguments: [["revoke"], ["rotate", "--overlap", "0"]])
    func unknown(arguments: [String]) async throws {
        let database = try await Shared.database.value

        let ended = try await database.run(["keys"] + arguments + ["ck_nobody"])

        #expect(ended.status == 1)
        #expect(ended.errors.contains("ck_nobody"))
    }

    @Test("list shows what there is, and no secret")
    func list() async throws {
        struct Listing: Decodable {
            struct Key: Decodable {
                var client_key: String
                var app_id: String
                var name: String
                var role: String
                var created_at: String
                var expires_at: String?
                var revoked_at: String?
                var last_used_at: String?
            }

            var keys: [Key]
        }
        let database = try await Shared.database.value
        let app = newID()
        let used = try await create(database, app: app)
        let revoked = try await create(database, app: app, ["--expires-in", "3600"])
        _ = try await create(database)
        try await database.customerd(["keys", "revoke", revoked.key])
        _ = try await opens(database, used.key, used.secret)

        let ended = try await database.run(["keys", "list", "--app", app, "--json"])
        let keys = try ended.decoded(Listing.self).keys
        let text = try await database.customerd(["keys", "list"])

        #expect(keys.map(\.client_key) == [used.key, revoked.key])
        #expect(keys[0].last_used_at != nil && keys[0].expires_at == nil && keys[0].revoked_at == nil)
        #expect(keys[1].last_used_at == nil && keys[1].expires_at != nil && keys[1].revoked_at != nil)
        #expect(text.contains(used.key))
        for output in [ended.output, text] {
            #expect(!output.contains(used.secret) && !output.contains("digest"))
        }
    }

    @Test("a role that may not touch keys is told so")
    func insufficientRole() async throws {
        let database = try await Shared.database.value

        let ended = try await database.run(["keys", "list"], as: "customerd_service")

        #expect(ended.status == 2)
        #expect(ended.errors.contains("CUSTOMERD_MIGRATE_DATABASE_URL"))
    }

    @Test("creating, rotating and revoking a key are entries of its app's chain, by the role of the session")
    func entries() async throws {
        let database = try await Shared.database.value
        let app = newID()

        let issued = try await create(database, app: app)
        try await database.customerd(["keys", "rotate", issued.key, "--overlap", "0"])
        for _ in 0..<2 { try await database.customerd(["keys", "revoke", issued.key]) }
        _ = try await database.run(["keys", "rotate", issued.key, "--overlap", "0"])

        let entries = try await database.rows(
            """
            SELECT seq, action, outcome, actor_name, request, status_code, actor_key_id, actor_client_key,
                   hash = audit.hash(e) AS hashed
            FROM audit.entries AS e
            WHERE app_id = $1
            ORDER BY seq
            """, [.text(app)])
        #expect(entries.map { $0["action"] } == ["key.create", "key.rotate", "key.revoke"])
        for (index, entry) in entries.enumerated() {
            #expect(entry["seq"] == "\(index + 1)" && entry["hashed"] == "t")
            #expect(entry["outcome"] == "SUCCEEDED" && entry["actor_name"] == "postgres")
            #expect(entry["actor_key_id"] == nil && entry["actor_client_key"] == nil && entry["status_code"] == nil)
            #expect(entry["request"] == #"{"key": "\#(issued.key)", "name": "test", "role": "admin"}"#)
        }
        #expect(!(try await database.dump()).contains(issued.secret))
    }

    @Test("what a key may not do is in the list and in its entries, after a rotation too")
    func restrictions() async throws {
        let database = try await Shared.database.value
        let app = newID()
        let issued = try await create(
            database, app: app,
            [
                "--rate-limit", "7", "--allow", "192.0.2.9/24", "--allow", "2001:db8::1", "--expires",
                "2999-01-01T02:00:00+02:00", "--permission", "customers:read", "--permission", "customers:delete",
            ])

        try await database.customerd(["keys", "rotate", issued.key, "--overlap", "0"])
        try await database.customerd(["keys", "revoke", issued.key])
        let list = try await database.customerd(["keys", "list", "--app", app, "--json"])
        let text = try await database.customerd(["keys", "list", "--app", app])

        for member in [
            #""expires_at":"2999-01-01T00:00:00Z""#, #""rate_limit":7"#,
            #""allow":["192.0.2.0/24","2001:db8::1/128"]"#, #""permissions":["customers:delete","customers:read"]"#,
        ] { #expect(list.contains(member), "\(list)") }
        #expect(text.contains("7 requests in a window, only from 192.0.2.0/24 2001:db8::1/128, only customers:delete"))
        let requests = try await database.rows(
            "SELECT action, request FROM audit.entries WHERE app_id = $1 ORDER BY seq", [.text(app)])
        #expect(requests.map { $0["action"] } == ["key.create", "key.rotate", "key.revoke"])
        for request in requests {
            #expect(
                request["request"] == """
                    {"key": "\(issued.key)", "name": "test", "role": "admin", \
                    "allow": ["192.0.2.0/24", "2001:db8::1/128"], "expires_at": "2999-01-01T00:00:00Z", \
                    "rate_limit": 7, "permissions": ["customers:delete", "customers:read"]}
                    """)
        }
    }

    @Test("a key whose entry can't be written isn't made")
    func entryAndKeyTogether() async throws {
        let database = try await TestDatabase.migrated()
        let app = newID()
        _ = try await create(database, app: app)
        try await database.run("DELETE FROM audit.heads")

        let ended = try await database.run(["keys", "create", "--app", app, "--role", "admin", "--name", "second"])

        #expect(ended.status == 1)
        #expect(ended.errors.contains("Nothing was changed") && ended.errors.contains(app), "\(ended)")
        #expect(
            try await database.value("SELECT count(*) FROM service.api_keys WHERE app_id = $1", [.text(app)]) == "1")
        try await database.drop()
    }

    /// What is wrong with a chain, and what puts it right.
    static let brokenChains = [
        ("DELETE FROM audit.heads", "INSERT INTO audit.heads SELECT app_id, seq, hash FROM audit.entries"),
        ("UPDATE audit.heads SET seq = 0", "UPDATE audit.heads SET seq = 1"),
    ]

    @Test(
        "a key is revoked whatever state its chain is in; the entry follows once the chain takes it",
        arguments: brokenChains)
    func revokeWithoutChain(damage: String, repair: String) async throws {
        let database = try await TestDatabase.migrated()
        let issued = try await create(database)
        try await database.run(damage)

        let rotated = try await database.run(["keys", "rotate", issued.key, "--overlap", "0"])
        let stillOpen = try await opens(database, issued.key, issued.secret)
        let revoked = try await database.run(["keys", "revoke", issued.key, "--json"])
        let again = try await database.run(["keys", "revoke", issued.key])

        #expect(rotated.status == 1 && rotated.errors.contains("Nothing was changed"), "\(rotated)")
        #expect(stillOpen)
        #expect(revoked.status == 0 && revoked.errors.contains("entry isn't written yet"), "\(revoked)")
        #expect(again.status == 0)
        #expect(try await !opens(database, issued.key, issued.secret))
        #expect(try await database.value("SELECT count(*) FROM audit.entries") == "1")

        let service = try await RunningService.start(on: database)
        try await database.run(repair)
        let entry = """
            SELECT action, outcome, actor_name, request, status_code,
                   occurred_at = (SELECT revoked_at FROM service.api_keys) AS is_on_time, hash = audit.hash(e) AS hashed
            FROM audit.entries AS e
            WHERE seq = 2
            """
        try await eventually("its entry followed", within: .seconds(120)) { try await !database.rows(entry).isEmpty }
        await service.kill()
        #expect(
            try await database.rows(entry) == [
                [
                    "action": "key.revoke", "outcome": "SUCCEEDED", "actor_name": "postgres", "is_on_time": "t",
                    "hashed": "t", "request": #"{"key": "\#(issued.key)", "name": "test", "role": "admin"}"#,
                ]
            ])
        #expect(try await database.value("SELECT count(*) FROM audit.entries") == "2")
        try await database.drop()
    }

    @Test("with --json an error is JSON as well")
    func jsonErrors() async throws {
        struct Failure: Decodable {
            var error: String
            var exit_code: Int
        }
        let database = try await Shared.database.value

        for arguments in [["keys", "revoke", "ck_nobody", "--json"], ["keys", "create", "--json"]] {
            let ended = try await database.run(arguments)
            let failure = try ended.decoded(Failure.self)
            #expect(Int(ended.status) == failure.exit_code && !failure.error.isEmpty)
            #expect(ended.errors.contains(failure.error.prefix(10)))
        }
    }
}
