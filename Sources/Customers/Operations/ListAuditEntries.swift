import LibPQ

/// What can be asked of the trail: an app's own entries, rendered by the database.
public struct AuditQueries: Sendable {
    private let read: Read

    public init(read: Read) {
        self.read = read
    }

    /// A page of entries, newest first, with the cursor of the next.
    public func entries(
        _ search: Result<AuditSearch, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readAudit], search, deadline: deadline) {
            connection, caller, search, deadline throws(DatabaseError) in
            var rows = try await connection.query(Self.page(search, caller), deadline: deadline).rows[...]
            let hasMore = rows.count > search.limit
            rows = rows.prefix(search.limit)
            let next = hasMore ? rows.last?.int("seq").map { AuditCursor(before: Int64($0)) } : nil
            let body: JSON = [
                "data": .array(rows.map { .raw($0["entry"]) }), "next_cursor": .string(next?.text),
            ]
            return Answer(status: 200, body: body.text)
        }
    }

    /// One entry.
    public func entry(
        _ id: Result<UUID, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readAudit], id, deadline: deadline) {
            connection, caller, id, deadline throws(DatabaseError) in
            let rows = try await connection.query(
                Statement(
                    """
                    SELECT service.audit_entry(ROW(e.*))
                    FROM audit.entries AS e
                    WHERE e.app_id = $1 AND e.id = $2
                    """,
                    [.uuid(caller.appID), .uuid(id)]
                ),
                deadline: deadline
            ).rows
            guard let entry = rows.first?[0] else { return APIError.auditEntryNotFound.answer }
            return Answer(status: 200, body: entry)
        }
    }

    /// One entry more than asked for, to know whether there is a next page. Unprepared, so that it is planned for the
    /// filters that are there.
    private static func page(_ search: AuditSearch, _ caller: Caller) -> Statement {
        Statement(
            """
            SELECT page.seq,
                   CASE WHEN $9 THEN service.audit_proof(ROW(page.*)) ELSE service.audit_entry(ROW(page.*)) END AS entry
            FROM (SELECT e.*
                  FROM audit.entries AS e
                  WHERE e.app_id = $1
                    AND ($2::uuid IS NULL OR e.customer_id = $2)
                    AND ($3::text IS NULL OR e.outcome = $3)
                    AND ($4::text IS NULL OR e.actor_client_key = $4 OR e.actor_name = $4 OR e.actor_claimed = $4)
                    AND ($5::timestamptz IS NULL OR e.occurred_at >= $5)
                    AND ($6::timestamptz IS NULL OR e.occurred_at < $6)
                    AND ($7::bigint IS NULL OR e.seq < $7)
                  ORDER BY e.seq DESC
                  LIMIT $8) AS page
            ORDER BY page.seq DESC
            """,
            [
                .uuid(caller.appID), .uuid(search.customerID), .text(search.outcome?.rawValue), .text(search.actor),
                .text(search.from?.text), .text(search.to?.text), .int(search.cursor?.seq), .int(search.limit + 1),
                .bool(search.withProof),
            ],
            prepared: false
        )
    }
}

/// Which audit entries are asked for.
public struct AuditSearch: Sendable, Hashable {
    public static let limits = 1...100

    public var customerID: UUID?
    public var outcome: Outcome?
    /// A client key, the name of an API key, or a claimed actor (`x-actor-id`).
    public var actor: String?
    /// The first moment of the time in which an attempt occurred, inclusive.
    public var from: DateTime?
    /// Its end, exclusive.
    public var to: DateTime?
    /// Where an earlier page ended.
    public var cursor: AuditCursor?
    /// How many entries at most.
    public var limit: Int
    /// Whether the salts are asked for, too, with which all hashes can be computed again.
    public var withProof: Bool

    public init(
        customerID: UUID?, outcome: Outcome?, actor: String?, from: DateTime?, to: DateTime?, cursor: AuditCursor?,
        limit: Int, withProof: Bool
    ) {
        self.customerID = customerID
        self.outcome = outcome
        self.actor = actor
        self.from = from
        self.to = to
        self.cursor = cursor
        self.limit = limit
        self.withProof = withProof
    }
}

/// Where a page of the trail ended: before the entry with this `seq`. Entries that arrive meanwhile come before the
/// first page, so no page changes.
public struct AuditCursor: Sendable, Hashable {
    private static let prefix = "before:"

    let seq: Int64

    init(before seq: Int64) {
        self.seq = seq
    }

    /// Reads what ``text`` wrote, and nothing else.
    public init?(_ text: String) {
        let base64 = text.replacing("-", with: "+").replacing("_", with: "/")
        let padding = String(repeating: "=", count: (4 - base64.utf8.count % 4) % 4)
        guard
            let data = Data(base64Encoded: base64 + padding), let plain = String(bytes: data, encoding: .utf8),
            plain.hasPrefix(Self.prefix), let seq = Int64(plain.dropFirst(Self.prefix.count)), seq > 0
        else { return nil }
        self.seq = seq
        guard text == self.text else { return nil }
    }

    /// Opaque to clients: base64url without padding (RFC 4648, section 5).
    public var text: String {
        Data((Self.prefix + String(seq)).utf8).base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
}
