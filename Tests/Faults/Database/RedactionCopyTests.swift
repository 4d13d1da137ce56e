import Foundation
import LibPQ
import TestSupport
import Testing

/// Redactions in copies of the database.
@Suite("A redaction", .serialized, .stages)
struct RedactionCopyTests {
    private static let tables = """
        public.customers, public.invoices, public.payment_links, public.transactions, public.liquidation_addresses,
        audit.entries, audit.heads, service.api_keys, service.attempts, service.rate_windows, service.redactions
        """

    @Test("is carried by logical replication, which continues after it")
    func replication() async throws {
        let stage = try await Stage.open(
            ["CUSTOMERD_RATE_LIMIT": "1000000"], in: .ownCluster(settings: ["wal_level = logical"]))
        let tenant = try await stage.tenant()
        let person = Person()
        try await tenant.insert(person.customer)
        _ = try await tenant.setStatus(person.id, "BLACKLISTED")
        let copy = try await TestDatabase.migrated(in: stage.database.cluster)
        // In one cluster, the subscription can't create its own slot.
        try await stage.database.rows("CREATE PUBLICATION blue FOR TABLE \(Self.tables)")
        try await stage.database.rows("SELECT pg_create_logical_replication_slot('green', 'pgoutput')")
        try await copy.rows(
            """
            CREATE SUBSCRIPTION green CONNECTION '\(stage.database.url())' PUBLICATION blue
            WITH (create_slot = false, slot_name = 'green')
            """)
        try await eventually("the copy followed") { try await copy.entries(app: tenant.app).count == 1 }

        let redaction = try await tenant.post("redact", person.id, reason: "GDPR")
        let later = try await tenant.setStatus(person.id, "ACTIVE")

        #expect(redaction.status == 200)
        #expect(later.status == 200)
        try await eventually("the copy had what came behind the redaction", within: .seconds(40)) {
            try await copy.entries(app: tenant.app).count == 3
        }
        try await eventually("the copy was redacted") {
            try await person.traces(in: copy.dump()) == []
        }
        #expect(try await Trail.verify(copy).isClean)
        try await copy.rows("ALTER SUBSCRIPTION green DISABLE")
        try await copy.rows("ALTER SUBSCRIPTION green SET (slot_name = NONE)")
        try await copy.rows("DROP SUBSCRIPTION green")
        await copy.closeSessions()
    }

    @Test("can't be forged in a restored copy, where a true one continues")
    func restoredCopy() async throws {
        let stage = try await Stage.open(["CUSTOMERD_RATE_LIMIT": "1000000"])
        let tenant = try await stage.tenant()
        let (person, other) = (Person(), Person())
        for each in [person, other] {
            try await tenant.insert(each.customer)
            _ = try await tenant.setStatus(each.id, "BLACKLISTED")
        }
        _ = try await tenant.post("redact", person.id)
        _ = try await tenant.setStatus(person.id, "ACTIVE")
        let copy = try await TestDatabase.empty()
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("dump-\(newID()).sql")
        defer { try? FileManager.default.removeItem(at: file) }
        try await stage.database.dump([]).write(to: file, atomically: true, encoding: .utf8)
        try await copy.cluster.psql(file: file.path, database: copy.name)

        let erasure = "SET before_image = NULL, reason = NULL, error_message = NULL, subject_salt = NULL"
        let forgeries = [
            "UPDATE audit.entries \(erasure) WHERE customer_id = '\(other.id)'",
            "UPDATE audit.entries \(erasure) WHERE customer_id = '\(person.id)'",
            "UPDATE audit.entries SET reason = 'x' WHERE customer_id = '\(person.id)'",
            "DELETE FROM audit.entries WHERE customer_id = '\(person.id)'",
        ]
        for forgery in forgeries {
            #expect(try await copy.sqlstate(forgery, as: "postgres") == "42501", "\(forgery)")
        }
        #expect(try await Trail.verify(copy).isClean)
        // A redaction that was declared but not finished when the dump was made.
        try await copy.run(
            """
            SELECT service.append('\(tenant.app)', jsonb_build_array(jsonb_build_object(
                'id', gen_random_uuid(), 'action', 'customer.redact', 'outcome', 'SUCCEEDED', 'status_code', 200,
                'customer_id', '\(other.id)', 'request', '{}'::jsonb)));
            INSERT INTO service.redactions (app_id, customer_id, attempt_id, redacted_at, record)
            SELECT app_id, customer_id, id, now(), '{}' FROM audit.entries
            WHERE customer_id = '\(other.id)' AND action = 'customer.redact';
            """)
        let isErased = try await copy.value(
            "SELECT service.erase_next($1, 100) OR service.erase_next($1, 100)", [.text(tenant.app)])
        #expect(isErased == "t")
        let left = try await copy.value(
            "SELECT count(*) FROM audit.entries WHERE customer_id = $1 AND before_image IS NOT NULL", [.text(other.id)])
        #expect(left == "0")
        #expect(try await Trail.verify(copy).isClean)
        try await copy.drop()
    }
}
