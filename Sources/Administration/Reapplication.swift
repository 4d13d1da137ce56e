public import AuditTrail
import Customers
public import LibPQ

/// What a restore from an older backup has brought back, done away with again: deletions, redactions, revoked and rotated
/// keys, holds, and what was scheduled or called off, that a later export of the trail tells of.
///
/// First all entries are taken, then what the database doesn't know of them is done, in their order. A second run changes
/// nothing. The SQL stands in sql/functions/reapplication.sql and reapplied_actions.sql; the session must be the owner's.
public struct Reapplication: Sendable {
    private static let batch = 500
    private static let actions: Set<String> = [
        "customer.delete", "customer.redact", "customer.restore", "key.revoke", "key.rotate", "hold.place",
        "hold.release", "deletion.schedule", "deletion.cancel", "deletion.bulk-cancel",
    ]

    /// A customer of an app.
    private struct Subject: Hashable {
        let appID: String
        let customerID: String?
    }

    /// What was done, or would be.
    public struct Report: Sendable, Hashable {
        public fileprivate(set) var deleted = 0
        public fileprivate(set) var redacted = 0
        public fileprivate(set) var revoked = 0
        /// Holds placed or released.
        public fileprivate(set) var held = 0
        public fileprivate(set) var scheduled = 0
        /// Scheduled and bulk deletions called off.
        public fileprivate(set) var cancelled = 0
        public fileprivate(set) var unchanged = 0
        /// What couldn't be done: the id of the entry, and why.
        public fileprivate(set) var failed: [Failure] = []

        public struct Failure: Sendable, Hashable {
            public let entry: String
            public let message: String
        }
    }

    private var steps: [ExportedEntry] = []
    /// What scheduled deletions and items of bulk deletions came to.
    private var ends: [ExportedEntry] = []
    /// The seq of the last restoration of a customer: what was deleted before lives.
    private var restored: [Subject: Int] = [:]
    /// The seq of the last entry about the hold of a customer, the only one that counts.
    private var held: [Subject: Int] = [:]
    /// The same for its scheduled deletion.
    private var scheduled: [Subject: Int] = [:]

    public init() {}

    /// Takes the next entry of the export.
    public mutating func take(_ entry: ExportedEntry) {
        if entry.action == "customer.delete", let request = entry.request,
            request.contains("\"bulk\":") || request.contains("\"scheduled_by\":")
        {
            ends.append(entry)
        }
        guard entry.outcome == "SUCCEEDED", Self.actions.contains(entry.action) else { return }
        let subject = Subject(appID: entry.appID, customerID: entry.customerID)
        switch entry.action {
        case "customer.restore":
            restored[subject] = entry.seq
            return
        case "hold.place", "hold.release": held[subject] = entry.seq
        case "deletion.schedule", "deletion.cancel": scheduled[subject] = entry.seq
        default: break
        }
        steps.append(entry)
    }

    /// Does what the database has forgotten.
    ///
    /// - Parameter isDryRun: only say what would be done.
    public func apply(
        _ connection: Connection, isDryRun: Bool, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Report {
        var report = Report()
        if !isDryRun { try await noteEnds(connection, deadline: deadline) }
        for start in stride(from: 0, to: steps.count, by: Self.batch) {
            let batch = steps[start..<min(start + Self.batch, steps.count)]
            let rows = try await connection.query(
                Statement(
                    """
                    SELECT i.id
                    FROM unnest($1::uuid[]) AS i (id)
                    WHERE NOT EXISTS (SELECT FROM audit.entries AS e WHERE e.id = i.id)
                    """,
                    [.array(batch.map(\.id))], prepared: false),
                deadline: deadline
            ).rows
            let forgotten = Set(rows.compactMap { $0[0] })
            for step in batch {
                guard forgotten.contains(step.id), counts(step) else {
                    report.unchanged += 1
                    continue
                }
                try await apply(step, connection, isDryRun, &report, deadline: deadline)
            }
        }
        return report
    }

    private func noteEnds(_ connection: Connection, deadline: ContinuousClock.Instant) async throws(DatabaseError) {
        for (appID, entries) in Dictionary(grouping: ends, by: \.appID) {
            for start in stride(from: 0, to: entries.count, by: Self.batch) {
                let batch = entries[start..<min(start + Self.batch, entries.count)]
                _ = try await connection.query(
                    Statement(
                        "SELECT service.note_ends($1, $2)",
                        [.text(appID), .text(JSON.array(batch.map(Self.original)).text)], prepared: false),
                    deadline: deadline)
            }
        }
    }

    /// Whether nothing later in the export has undone it.
    private func counts(_ step: ExportedEntry) -> Bool {
        let subject = Subject(appID: step.appID, customerID: step.customerID)
        return switch step.action {
        case "customer.delete": step.seq > restored[subject] ?? 0
        case "hold.place", "hold.release": step.seq == held[subject]
        case "deletion.schedule", "deletion.cancel": step.seq == scheduled[subject]
        default: true
        }
    }

    private func apply(
        _ step: ExportedEntry, _ connection: Connection, _ isDryRun: Bool, _ report: inout Report,
        deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) {
        let row = try await connection.query(
            Statement(
                "SELECT result, message FROM service.reapply($1, $2, $3)",
                [.text(step.appID), .text(Self.original(step).text), .bool(isDryRun)], prepared: false),
            deadline: deadline
        ).row()
        switch row["result"] {
        case "deleted": report.deleted += 1
        case "redacted": report.redacted += 1
        case "revoked": report.revoked += 1
        case "held": report.held += 1
        case "scheduled": report.scheduled += 1
        case "cancelled": report.cancelled += 1
        case "unchanged": report.unchanged += 1
        default: report.failed.append(.init(entry: step.id, message: row["message"] ?? ""))
        }
    }

    /// What the functions are told of an entry.
    private static func original(_ entry: ExportedEntry) -> JSON {
        [
            "id": .string(entry.id), "occurred_at": .string(entry.occurredAt), "action": .string(entry.action),
            "outcome": .string(entry.outcome), "customer_id": .string(entry.customerID),
            "reason": .string(entry.reason),
            "actor_key_id": .string(entry.actorKeyID), "actor_name": .string(entry.actorName),
            "request": .raw(entry.request),
        ]
    }
}
