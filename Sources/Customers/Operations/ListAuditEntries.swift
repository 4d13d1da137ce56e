import LibPQ

extension ReadOperation {
    /// A page of the app's own entries, newest first, with the cursor of the next.
    static let listAuditEntries = ReadOperation("/audit", [.readAudit]) { request throws(Invalidity) in
        let search = try AuditSearch(request.parameters)
        return Query { appID in
            search.page(of: appID)
        } _: { found throws(DatabaseError) in
            try .page(found, limit: search.limit) { row throws(DatabaseError) in
                let seq: Int = try row.get("seq")
                return AuditCursor(before: Int64(seq)).text
            }
        }
    }

    /// One entry.
    static let getAuditEntry = one(
        "/audit/{id}", .readAudit,
        """
        SELECT service.audit_entry(e)
        FROM audit.entries AS e
        WHERE e.app_id = $1 AND e.id = $2
        """
    ) { row throws(DatabaseError) in
        row?[0].map { Answer(status: 200, body: $0) } ?? APIError.auditEntryNotFound.answer
    }
}

/// Which audit entries are asked for.
struct AuditSearch: Sendable {
    static let limits = 1...100

    private let customerID: UUID?
    private let outcome: Outcome?
    /// A client key, the name of an API key, or a claimed actor (`x-actor-id`).
    private let actor: String?
    /// The first moment of the time in which an attempt occurred, inclusive.
    private let from: DateTime?
    /// Its end, exclusive.
    private let to: DateTime?
    /// Where an earlier page ended.
    private let cursor: AuditCursor?
    /// How many entries at most.
    let limit: Int
    /// Whether the salts are asked for, too, with which all hashes can be computed again.
    private let withProof: Bool

    init(_ parameters: QueryParameters) throws(Invalidity) {
        customerID = try parameters.uuid("customer_id")
        outcome = try parameters.choice("outcome", of: Outcome.self)
        actor = try parameters.text("actor")
        from = try parameters.dateTime("from")
        to = try parameters.dateTime("to")
        cursor = try parameters.value("cursor", orElse: .invalidCursor(name: "cursor")) { AuditCursor($0) }
        limit = try parameters.int("limit", in: Self.limits, default: 50)
        withProof = try parameters.bool("proof")
    }

    /// One entry more than asked for, to know whether there is a next page. Unprepared, so that it is planned for the
    /// filters that are there.
    func page(of appID: UUID) -> Statement {
        Statement(
            """
            SELECT page.seq,
                   CASE WHEN $9 THEN service.audit_proof(page.e) ELSE service.audit_entry(page.e) END AS item
            FROM (SELECT e.seq, e
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
                .uuid(appID), .uuid(customerID), .text(outcome?.rawValue), .text(actor),
                .text(from?.text), .text(to?.text), .int(cursor?.seq), .int(limit + 1), .bool(withProof),
            ],
            prepared: false
        )
    }
}

/// Where a page of the trail ended: before the entry with this `seq`. Entries that arrive meanwhile come before the
/// first page, so no page changes.
struct AuditCursor: Sendable, Hashable {
    private static let prefix = "before:"

    let seq: Int64

    init(before seq: Int64) {
        self.seq = seq
    }

    /// Reads what ``text`` wrote, and nothing else.
    init?(_ text: String) {
        guard
            let data = Data(base64URL: text), let plain = String(bytes: data, encoding: .utf8),
            plain.hasPrefix(Self.prefix), let seq = Int64(plain.dropFirst(Self.prefix.count)), seq > 0
        else { return nil }
        self.seq = seq
        guard text == self.text else { return nil }
    }

    /// Opaque to clients.
    var text: String {
        Data((Self.prefix + String(seq)).utf8).base64URL
    }
}
