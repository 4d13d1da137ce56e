import Foundation
import LibPQ

/// One row of `audit.entries`, every column in PostgreSQL's text.
public struct TrailEntry: Sendable {
    private let columns: [String: String]

    init(_ columns: [String: String]) {
        self.columns = columns
    }

    /// The columns of docs/api.md, Audit, in this order.
    public static let documentedColumns = """
        seq bigint, id uuid, app_id uuid, occurred_at timestamp with time zone, recorded_at timestamp with time zone, \
        action text, outcome text, status_code integer, customer_id uuid, before_image jsonb, actor_key_id uuid, \
        actor_client_key text, actor_name text, actor_role text, actor_claimed text, reason text, ip inet, \
        user_agent text, request_id text, idempotency_key uuid, request jsonb, error_code text, sqlstate text, \
        constraint_name text, referencing_table text, error_message text, previous_hash bytea, hash bytea
        """

    /// Those that no test can foretell; ``mismatches(with:)`` leaves them out.
    private static let unforeseeable: Set<String> = [
        "seq", "id", "occurred_at", "recorded_at", "before_image", "request", "error_message", "previous_hash", "hash",
    ]

    public subscript(_ column: String) -> String? {
        columns[column]
    }

    /// Everything that it holds.
    public var text: String {
        columns.map { "\($0)=\($1)" }.sorted().joined(separator: "\n")
    }

    /// A member of `request`, or of one of its objects.
    public func request(_ path: String...) -> String? {
        guard let text = columns["request"], var value = try? JSONSerialization.jsonObject(with: Data(text.utf8)) else {
            return nil
        }
        for name in path {
            guard let member = (value as? [String: Any])?[name] else { return nil }
            value = member
        }
        return value as? String ?? (value as? Int).map { String($0) }
    }

    /// Where the entry differs from what it is to be. A column that isn't named is to be NULL.
    public func mismatches(with expected: [String: String]) -> [String] {
        let names = Self.documentedColumns.split(separator: ", ").map { String($0.prefix { $0 != " " }) }
        return names.filter { !Self.unforeseeable.contains($0) && columns[$0] != expected[$0] }.map { name in
            "\(name) is \(columns[name] ?? "NULL"), not \(expected[name] ?? "NULL")"
        }
    }
}

extension TestDatabase {
    /// One app's trail, oldest first, without what `customerd keys` did; that of strangers when nil.
    public func entries(app: String?) async throws -> [TrailEntry] {
        try await rows(
            "SELECT * FROM audit.entries WHERE app_id = $1 AND action NOT LIKE 'key.%' ORDER BY seq",
            [.text(app ?? "00000000-0000-0000-0000-000000000000")]
        ).map(TrailEntry.init)
    }

    /// All entries of one request, whosever they are.
    public func entries(requestID: String) async throws -> [TrailEntry] {
        try await rows(
            "SELECT * FROM audit.entries WHERE request_id = $1 ORDER BY app_id, seq", [.text(requestID)]
        ).map(TrailEntry.init)
    }

    /// Whether an entry's before-image is a JSON text, numbers digit by digit.
    public func image(of entry: TrailEntry, is record: String) async throws -> Bool {
        guard let image = entry["before_image"] else { return false }
        return try await value("SELECT $1::jsonb::text = $2::jsonb::text", [.text(image), .text(record)]) == "t"
    }

    /// The apps whose chain doesn't count 1, 2, 3 ….
    public func appsWithGaps() async throws -> [String] {
        try await rows(
            """
            SELECT app_id
            FROM audit.entries
            GROUP BY app_id
            HAVING min(seq) <> 1 OR max(seq) <> count(*)
            """
        ).compactMap { $0["app_id"] }
    }
}
