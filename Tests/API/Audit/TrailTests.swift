import LibPQ
import TestSupport
import Testing

/// Section 3: the table, who may do what with it, and what reads it.
@Suite("The trail", .stage(["CUSTOMERD_RATE_LIMIT": "1000"]))
struct TrailTests {
    let stage = Stage.current

    @Test("audit.entries has the columns of the contract, first and in its order")
    func columns() async throws {
        let columns = try await stage.database.rows(
            """
            SELECT attname || ' ' || format_type(atttypid, atttypmod) AS column
            FROM pg_attribute
            WHERE attrelid = 'audit.entries'::regclass AND attnum > 0 AND NOT attisdropped
            ORDER BY attnum
            """
        ).compactMap { $0["column"] }

        #expect(columns.joined(separator: ", ").hasPrefix(TrailEntry.documentedColumns))
    }

    @Test(
        "the service's role can't change the trail",
        arguments: [
            "UPDATE audit.entries SET reason = 'another'",
            "UPDATE audit.entries SET reason = 'another' WHERE false",
            "DELETE FROM audit.entries",
            "TRUNCATE audit.entries",
            "TRUNCATE audit.entries, audit.heads CASCADE",
            "INSERT INTO audit.entries SELECT * FROM audit.entries",
            "COPY audit.entries FROM STDIN",
            "MERGE INTO audit.entries AS e USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
            "SELECT FROM audit.entries FOR UPDATE",
            "ALTER TABLE audit.entries DISABLE TRIGGER ALL",
            "DROP TABLE audit.entries CASCADE",
            "CREATE RULE quiet AS ON INSERT TO audit.entries DO INSTEAD NOTHING",
            "CREATE TRIGGER quiet BEFORE INSERT ON audit.entries EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "UPDATE audit.heads SET seq = 0",
            "DELETE FROM audit.heads",
            "CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "SET session_replication_role = replica",
            "SET ROLE customerd_owner",
        ])
    func appendOnly(statement: String) async throws {
        let tenant = try await stage.tenant()
        _ = try await tenant.delete(newID())

        let state = try await stage.database.sqlstate(statement, as: "customerd_service")

        // Citus refuses some of them before it looks at privileges.
        #expect(PrivateCluster.isDistributed ? state != nil : state == "42501")
        #expect(try await tenant.entries().count == 1)
    }

    @Test(
        "even the owner can't change it without taking the trigger away first",
        arguments: [
            "UPDATE audit.entries SET reason = 'another'", "DELETE FROM audit.entries", "TRUNCATE audit.entries",
        ])
    func appendOnlyForOwner(statement: String) async throws {
        let tenant = try await stage.tenant()
        _ = try await tenant.delete(newID())

        #expect(try await stage.database.sqlstate("SET ROLE customerd_owner; \(statement)", as: "postgres") != nil)
        #expect(
            try await stage.database.sqlstate("SET session_replication_role = replica; \(statement)", as: "postgres")
                != nil)
        #expect(try await tenant.entries().count == 1)
    }

    @Test("the auditor reads the trail and its views, and nothing of the business")
    func auditor() async throws {
        let relations = ["audit.entries", "audit.deletions", "audit.failures", "audit.by_actor", "audit.blockers"]
        for relation in relations {
            #expect(try await stage.database.sqlstate("SELECT * FROM \(relation)", as: "customerd_auditor") == nil)
            #expect(try await stage.database.sqlstate("DELETE FROM \(relation)", as: "customerd_auditor") != nil)
        }
        #expect(try await stage.database.sqlstate("SELECT * FROM customers", as: "customerd_auditor") == "42501")
        #expect(try await stage.database.sqlstate("SELECT * FROM service.api_keys", as: "customerd_auditor") == "42501")
    }

    @Test("seq counts without gaps under 50 at once, and the chain verifies")
    func sequence() async throws {
        let tenant = try await stage.tenant()
        let customers = try await tenant.insert(count: 100)

        _ = try await simultaneously(50) { index in
            _ = try await tenant.delete(customers[2 * index])
            return try await tenant.delete(customers[2 * index + 1])
        }

        let entries = try await tenant.entries()
        #expect(entries.map { $0["seq"] } == (1...100).map { String($0) })
        #expect(Set(entries.map { $0["id"] }).count == 100)
        let trail = try await Trail.verify(stage.database, app: tenant.app)
        #expect(trail.isClean)
        #expect(trail.entries == 100)
    }

    @Test("each entry carries the hash of the one before")
    func chain() async throws {
        let tenant = try await stage.tenant()
        for _ in 1...3 { _ = try await tenant.delete(newID()) }

        let entries = try await tenant.entries()

        #expect(entries[0]["previous_hash"] == "\\x" + String(repeating: "00", count: 32))
        #expect(entries.dropFirst().map { $0["previous_hash"] } == entries.dropLast().map { $0["hash"] })
        #expect(Set(entries.map { $0["hash"] }).count == 3)
    }

    @Test("the views tell what happened, a line an attempt")
    func views() async throws {
        let tenant = try await stage.tenant()
        let (deleted, refused) = (try await tenant.insert(), try await tenant.insert())
        try await tenant.insertDependent("payment_links", of: refused.id)
        for id in [deleted.id, refused.id, newID(), "no-uuid"] { _ = try await tenant.delete(id) }

        func rows(_ view: String) async throws -> [[String: String]] {
            try await stage.database.rows("SELECT * FROM audit.\(view) WHERE app_id = $1", [.text(tenant.app)])
        }

        #expect(try await rows("deletions").count == 4)
        #expect(try await rows("failures").count == 3)
        let actors = try await rows("by_actor")
        #expect(!actors.isEmpty)
        #expect(actors.allSatisfy { $0["actor_client_key"] == tenant.key.clientKey })
        let blockers = try await rows("blockers")
        try #require(blockers.count == 1)
        #expect(blockers[0].values.contains("payment_links_belong_to_a_customer"))
    }

    @Test("no row of the database is left for a request that was refused before it began")
    func reads() async throws {
        let tenant = try await stage.tenant()
        let before = try await tenant.entries().count

        for call in [
            HTTPCall("GET", "/api/v0/nothing", headers: tenant.key.headers),
            HTTPCall("PUT", "/api/v0/customers/\(newID())", headers: tenant.key.headers),
            HTTPCall("GET", "/health/ready"),
        ] {
            let answer = try await tenant.send(call)
            #expect(try await stage.database.entries(requestID: answer["x-request-id"] ?? "").isEmpty)
        }

        #expect(try await tenant.entries().count == before)
    }
}
