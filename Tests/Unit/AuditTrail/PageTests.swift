import LibPQ
import TestSupport
import Testing

@testable import AuditTrail

/// Verification of a chain that changes while it is read.
@Suite("Pages of a chain")
struct PageTests {
    private static let app = TrailFixture.app
    private static let size = ChainReader.pageSize

    /// A chain that is a little longer than a page, and a reader of it.
    private func stage() async throws -> (fixture: TrailFixture, connection: Connection, reader: ChainReader) {
        let fixture = try await TrailFixture.make()
        try await fixture.append(Self.size + 20, customers: 50)
        let connection = try await fixture.database.connect(as: "customerd_auditor")
        return (fixture, connection, ChainReader(connection: connection, deadline: .now + .seconds(60)))
    }

    private func verdict(
        _ reader: ChainReader, between pages: () async throws -> Void
    ) async throws -> ChainVerdict {
        var walk = ChainWalk()
        for trace in try await reader.traces(nil) { walk.take(trace) }
        var page = try await reader.page(of: Self.app, after: nil)
        #expect(page.rows.count == Self.size && !page.isLast && page.head == nil)
        for row in page.rows { walk.take(ChainEntry(row)) }
        try await pages()
        page = try await reader.page(of: Self.app, after: Self.size)
        #expect(page.isLast)
        for row in page.rows { walk.take(ChainEntry(row)) }
        if let head = page.head { walk.take(head) }
        return walk.finish()
    }

    @Test("no snapshot is held between two pages, so that vacuum isn't held up")
    func snapshots() async throws {
        let (fixture, connection, reader) = try await stage()

        _ = try await reader.page(of: Self.app, after: nil)

        let session = try await fixture.database.rows(
            """
            SELECT state, backend_xmin::text, backend_xid::text
            FROM pg_stat_activity
            WHERE datname = current_database() AND usename = 'customerd_auditor'
            """)
        #expect(session == [["state": "idle"]])
        await connection.close()
        try await fixture.drop()
    }

    @Test("a chain that grows meanwhile is whole, whatever is redacted meanwhile")
    func growing() async throws {
        let (fixture, connection, reader) = try await stage()

        let verdict = try await verdict(reader) {
            try await fixture.redact(0..<3)
            try await fixture.append(10, customers: 50, from: Self.size + 20)
        }

        #expect(verdict.broken == nil)
        #expect(verdict.verified == Self.size + 33)
        await connection.close()
        try await fixture.drop()
    }

    @Test(
        "a tail that is cut meanwhile is found, with its head moved and without",
        arguments: [(10, false), (10, true), (size + 5, false), (size + 5, true)])
    func cut(to seq: Int, movingHead: Bool) async throws {
        let (fixture, connection, reader) = try await stage()

        let verdict = try await verdict(reader) {
            try await fixture.alter("DELETE FROM audit.entries WHERE seq > \(seq)")
            guard movingHead else { return }
            try await fixture.alter(
                """
                UPDATE audit.heads AS h SET seq = e.seq, hash = e.hash FROM audit.entries AS e WHERE e.seq = \(seq)
                """)
        }

        #expect(verdict.broken != nil)
        await connection.close()
        try await fixture.drop()
    }

    @Test("a second entry of the last seq of a page isn't lost between the pages")
    func duplicate() async throws {
        let (fixture, connection, _) = try await stage()
        try await fixture.alter(
            """
            ALTER TABLE audit.entries DROP CONSTRAINT entries_pkey;
            INSERT INTO audit.entries
            SELECT (jsonb_populate_record(e, jsonb_build_object('id', gen_random_uuid()))).*
            FROM audit.entries AS e WHERE e.seq = \(Self.size)
            """)

        let verdict = try await ChainVerifier(connection: connection)(app: nil, deadline: .now + .seconds(60))

        #expect(verdict.broken?.seq == Self.size)
        #expect(verdict.entries == Self.size + 21)
        await connection.close()
        try await fixture.drop()
    }
}
