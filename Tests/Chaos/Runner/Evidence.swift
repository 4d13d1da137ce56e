import ChaosJudge
import Foundation
import LibPQ
import TestSupport

/// What is found in the database when everything is quiet.
struct Evidence: Sendable {
    private let database: TestDatabase

    init(_ database: TestDatabase) {
        self.database = database
    }

    /// Rows, also when the cache still holds sessions that were lost.
    private func rows(_ sql: String) async throws -> [[String: String]] {
        var rows: [[String: String]]?
        try await eventually("the database answered") {
            rows = try? await database.rows(sql)
            return rows != nil
        }
        return rows ?? []
    }

    /// Waits until recovery has nothing left to do, and no session does anything for a client that is gone.
    ///
    /// - Returns: how many attempts still lacked their entry after the limit; 0 is right.
    func settle(within limit: Duration) async throws -> Int {
        var left = 0
        try? await eventually("every attempt had its entry", within: limit) {
            let found = try await rows(
                """
                SELECT (SELECT count(*) FROM service.attempts WHERE entry_seq IS NULL) AS attempts,
                       (SELECT count(*)
                        FROM pg_stat_activity
                        WHERE datname = current_database() AND usename = 'customerd_service'
                          AND state <> 'idle') AS busy
                """)
            left = found.first?["attempts"].flatMap { Int($0) } ?? -1
            return left == 0 && found.first?["busy"] == "0"
        }
        return left
    }

    /// Adds what is found to a history.
    func complete(_ history: inout History) async throws {
        history.entries = try await entries()
        for row in try await rows("SELECT attempt_id, outcome, body, entry_seq FROM service.attempts") {
            guard let id = row["attempt_id"] else { continue }
            history.receipts[id] = StoredReceipt(
                outcome: row["outcome"], body: row["body"], entrySeq: row["entry_seq"].flatMap { Int($0) })
        }
        let customers = try await rows(
            "SELECT c.app_id, service.record(c) AS record, c.archived_at IS NOT NULL AS is_archived FROM customers AS c"
        )
        for row in customers {
            guard let app = row["app_id"], let record = row["record"].flatMap({ CustomerRecord(text: $0) }) else {
                throw NeverHappened("a customer was rendered as a record: \(row)")
            }
            history.remains[Subject(app: app, id: record.id)] = .init(
                record: record, isArchived: row["is_archived"] == "t")
        }
        history.remainingInvoices = Set(try await rows("SELECT id FROM invoices").compactMap { $0["id"] })
        history.marks = PersonalData.marks(in: try await database.dump())
        history.chain = try await chain()
    }

    private func entries() async throws -> [Entry] {
        try await rows(
            """
            SELECT app_id, seq, id, action, outcome, status_code, customer_id, request_id, idempotency_key, reason,
                   error_message, before_image, request ->> 'folded' AS folded
            FROM audit.entries
            ORDER BY app_id, seq
            """
        ).map { row in
            guard
                let app = row["app_id"], let seq = row["seq"].flatMap({ Int($0) }), let id = row["id"],
                let action = row["action"], let outcome = row["outcome"]
            else { throw NeverHappened("an entry had its columns: \(row)") }
            return Entry(
                app: app, seq: seq, id: id, action: action, outcome: outcome,
                status: row["status_code"].flatMap { Int($0) }, customer: row["customer_id"],
                requestID: row["request_id"], idempotencyKey: row["idempotency_key"], reason: row["reason"],
                errorMessage: row["error_message"], beforeImage: row["before_image"],
                folded: row["folded"].flatMap { Int($0) })
        }
    }

    private func chain() async throws -> History.ChainReport {
        let ended = try await Customerd.run(["audit", "verify", "--json"], ["DATABASE_URL": database.url()])
        guard
            let report = JSONValue(ended.output.trimmingCharacters(in: .whitespacesAndNewlines)),
            let entries = report["entries"]?.int, let verified = report["verified"]?.int
        else { throw NeverHappened("audit verify said something: \(ended)") }
        return .init(entries: entries, verified: verified, reason: report["reason"]?.string)
    }
}
