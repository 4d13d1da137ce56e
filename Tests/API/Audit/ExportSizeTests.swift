import Foundation
import TestSupport
import Testing

/// A customer whose export is tens of megabytes.
@Suite("The export of a customer with much history", .stages)
struct ExportSizeTests {
    private static let transactions = 150_000
    private static let entries = 40_000

    /// Makes the history by SQL; the entries aren't of a chain that could be verified.
    private func customerWithHistory(_ stage: Stage, _ tenant: Tenant) async throws -> String {
        stage.leaveTrailBroken()
        let customer = try await tenant.insert()
        try await stage.database.run(
            """
            INSERT INTO transactions (app_id, customer_id, created_at)
            SELECT '\(tenant.app)', '\(customer.id)', now() - (n / 3) * interval '1 s'
            FROM generate_series(1, \(Self.transactions)) AS n;
            INSERT INTO audit.entries
                (seq, id, app_id, occurred_at, recorded_at, action, outcome, status_code, customer_id, before_image,
                 previous_hash, hash, subject_commitment, context_commitment)
            SELECT n, gen_random_uuid(), '\(tenant.app)', now(), now(), 'customer.update', 'SUCCEEDED', 200,
                   '\(customer.id)', jsonb_build_object('first_name', repeat('x', 400)), d.zero, d.zero, d.zero, d.zero
            FROM generate_series(1, \(Self.entries)) AS n, (SELECT sha256('') AS zero) AS d;
            INSERT INTO audit.heads SELECT '\(tenant.app)', \(Self.entries), sha256('')
            """)
        return customer.id
    }

    @Test("it is whole, and takes no more memory than some pages")
    func memory() async throws {
        let stage = try await Stage.open()
        let tenant = try await stage.tenant()
        let customer = try await customerWithHistory(stage, tenant)
        _ = try await tenant.get("/api/v0/customers/\(customer)")
        let before = try stage.service.figures.peakResidentKiB

        let call = HTTPCall("GET", "/api/v0/customers/\(customer)/export", headers: tenant.key.headers)
        var (size, ids, seqs, tail) = (0, 0, 0, "")
        let status = try await call.stream(from: stage.service.port) { piece in
            size += piece.utf8.count
            // What is counted has 16 characters and may be cut in two by the border of pieces.
            let text = tail + piece
            ids += text.matches(of: /"kind":"payment"/).count
            seqs += text.matches(of: /"customer\.update/).count
            tail = String(text.suffix(15))
        }

        #expect(status == 200)
        #expect(size > 60_000_000)
        #expect(tail.hasSuffix("]}"))
        #expect(ids == Self.transactions)
        #expect(seqs == Self.entries)
        let after = try stage.service.figures.peakResidentKiB
        if ProcessFigures.tellOfMemory { #expect(after - before < 32 * 1024, "\(before) KiB before, \(after) after") }
        #expect(try await tenant.entries().last?["action"] == "customer.export")
    }

    @Test("a client that doesn't read holds no session, and is cut off after the time of silence")
    func slowReader() async throws {
        let stage = try await Stage.open(["CUSTOMERD_IDLE_TIMEOUT_SECONDS": "2"])
        let tenant = try await stage.tenant()
        let customer = try await customerWithHistory(stage, tenant)
        let lazy = try RawConnection(port: stage.service.port)
        let headers = tenant.key.headers.map { "\($0.name): \($0.value)\r\n" }.joined()

        await lazy.send("GET /api/v0/customers/\(customer)/export HTTP/1.1\r\nhost: localhost\r\n\(headers)\r\n")

        try await eventually("the export began") { try await tenant.entries().last?["action"] == "customer.export" }
        try await eventually("no session was held") {
            try await stage.database.value(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'customerd_service' AND state <> 'idle'
                """) == "0"
        }
        try await eventually("the client was cut off") {
            try await HTTPCall("GET", "/metrics").send(to: stage.service.port).body
                .contains(#"customerd_http_connections_closed_total{reason="late"} 1"#)
        }
        withExtendedLifetime(lazy) {}
    }
}
