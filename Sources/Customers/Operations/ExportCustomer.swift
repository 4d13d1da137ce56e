import LibPQ
import Logging

extension ReadOperation {
    /// All that is held about one person, in one document of any size.
    ///
    /// The record, or null once it is deleted; its dependents; the audit entries that existed at the time of the request; and
    /// the rows of every other table that refers to the customer, or null where they can't be read. Its own entry is durable
    /// before the first byte leaves.
    ///
    /// The document is read page by page. Each page has a connection of the pool and a snapshot of its own, so neither
    /// memory nor the database suffers from a large document or a slow client; before the next page it rests for as long
    /// as the last one took. What is added or removed while it is read may be in it or not; everything else is in it once. A
    /// table without a primary key is read in the order in which its rows lie: one that is updated meanwhile may be missing
    /// or come twice.
    ///
    /// Source: GDPR, article 15.
    static let exportCustomer = ReadOperation("/customers/{id}/export", [.readCustomers, .readAudit], .export)
}

extension Read {
    /// Admission → entry → document.
    func export(_ operation: ReadOperation, _ request: APIRequest) async -> Answer {
        let attempt = Attempt(exporting: operation, request)
        var rate: RateStatus?
        do throws(WriteError) {
            let decision: Admission.Decision
            do { decision = try await admission.authorize(attempt, request.credentials) } catch {
                throw WriteError(error)
            }
            rate = decision.rate
            if let refusal = decision.refusal ?? attempt.invalidity.map({ (.invalid, .invalid($0)) }) {
                return try await refuse(attempt, decision, refusal.outcome, refusal.error).with(rate)
            }
            guard let caller = decision.caller, let customerID = request.id else {
                throw .failed(.unexpected("an export is admitted without a key"))
            }
            let document = SubjectDocument(appID: caller.appID, customerID: customerID, pool: pool, logger: logger)
            guard let document = try await document.begun(deadline: attempt.deadline) else {
                return try await refuse(attempt, decision, .notFound, .customerNotFound).with(rate)
            }
            try await execution.record(AuditEntry(attempt, decision, .succeeded, nil), until: attempt.deadline)
            var answer = Answer(status: 200, body: "").with(rate)
            answer.stream = document.write
            return answer
        } catch .failed(let cause) {
            return answer(to: cause, unavailable: false).with(rate)
        } catch {
            return answer(to: error, unavailable: true).with(rate)
        }
    }

    private func refuse(
        _ attempt: Attempt, _ decision: Admission.Decision, _ outcome: Outcome, _ error: APIError
    ) async throws(WriteError) -> Answer {
        if decision.isRecorded {
            try await execution.record(AuditEntry(attempt, decision, outcome, error), until: attempt.deadline)
        }
        return error.answer
    }
}

extension Attempt {
    fileprivate init(exporting operation: ReadOperation, _ request: APIRequest) {
        self.init(
            id: .timeOrdered(),
            key: AttemptKey(action: .exportCustomer, customerID: request.id),
            idempotencyKey: nil,
            invalidity: request.id == nil ? .invalidPathID : request.invalidity,
            fingerprint: [],
            context: request.context,
            cost: 1,
            permissions: operation.permissions,
            deadline: request.deadline)
    }
}

/// The document of an export, on its way.
private struct SubjectDocument: Sendable {
    /// Rows of a page. Without an index in its order, each page sorts all rows of the customer, so such pages are long.
    private enum PageRows {
        static let indexed = 500
        static let sorted = 3_000
    }

    /// Bytes after which a page ends.
    private static let pageBytes = 1024 * 1024
    /// The foreign key of holds.
    private static let holdKey = "legal_holds_keep_a_customer"
    /// How long a page may take.
    private static let pageTimeout = Duration.seconds(10)

    let appID: UUID
    let customerID: UUID
    let pool: ConnectionPool
    let logger: Logger
    private var record: String?
    private var lastSeq = 0

    init(appID: UUID, customerID: UUID, pool: ConnectionPool, logger: Logger) {
        self.appID = appID
        self.customerID = customerID
        self.pool = pool
        self.logger = logger
    }

    /// The same with its record and the end of its entries; nil if neither table nor trail knows the customer. An
    /// earlier export is no knowledge.
    func begun(deadline: ContinuousClock.Instant) async throws(WriteError) -> SubjectDocument? {
        var document = self
        do throws(DatabaseError) {
            let row = try await pool.row(
                Statement(
                    """
                    SELECT (SELECT service.record(c.*)
                            FROM public.customers AS c
                            WHERE c.app_id = $1 AND c.id = $2) AS record,
                           (SELECT coalesce(max(e.seq), 0)
                            FROM audit.entries AS e
                            WHERE e.app_id = $1 AND e.customer_id = $2) AS last_seq,
                           EXISTS (SELECT
                                   FROM audit.entries AS e
                                   WHERE e.app_id = $1 AND e.customer_id = $2
                                     AND e.action <> 'customer.export') AS is_in_trail
                    """,
                    [.uuid(appID), .uuid(customerID)]
                ),
                for: appID, deadline: deadline)
            document.record = row["record"]
            document.lastSeq = try row.get("last_seq")
            let isInTrail: Bool = try row.get("is_in_trail")
            return document.record != nil || isInTrail ? document : nil
        } catch {
            throw WriteError(error)
        }
    }

    /// Hands the text of the document over, piece by piece.
    ///
    /// - Parameter write: returns when the client can take more.
    /// - Throws: what `write` throws, or ``DatabaseError``; then the document isn't whole.
    func write(_ write: (String) async throws -> Void) async throws {
        do {
            try await write(#"{"customer":\#(record ?? "null")"#)
            for kind in Dependents.allCases {
                try await write(#","\#(kind.rawValue)":["#)
                try await pages(write) { after in dependents(kind, after: after) }
                try await write("]")
            }
            try await write(#","audit_entries":["#)
            try await pages(write) { after in entries(before: after) }
            try await write(#"],"other":["#)
            try await others(write)
            try await write("]}")
        } catch let error as DatabaseError {
            logger.warning("an export was cut off", metadata: ["error": "\(error)"])
            throw error
        }
    }

    // MARK: - Pages

    /// - Parameter page: the statement of the page after a place: columns `records`, and `last`, the place after which
    ///   the next page begins, NULL after the last one.
    private func pages(
        _ write: (String) async throws -> Void, _ page: (String?) -> Statement
    ) async throws {
        var after: String?
        repeat {
            let (isFirst, start) = (after == nil, ContinuousClock.now)
            let records: String?
            (records, after) = try await texts(page(after))
            let end = ContinuousClock.now
            if let records { try await write(isFirst ? records : "," + records) }
            // A long document leaves others as much time of the database as it takes.
            if after != nil { try await Task.sleep(until: end + (end - start)) }
        } while after != nil
    }

    /// A row keeps the memory of its whole result alive, so only its texts go on.
    private func texts(_ page: Statement) async throws(DatabaseError) -> (records: String?, last: String?) {
        let row = try await pool.row(page, for: appID, deadline: .now + Self.pageTimeout)
        return (row["records"], row["last"])
    }

    /// Newest first. Unprepared, so that it is planned for one kind, which is one table.
    private func dependents(_ kind: Dependents, after: String?) -> Statement {
        Statement(
            """
            WITH page AS MATERIALIZED (
                SELECT d.id, d.created_at
                FROM service.dependents AS d
                WHERE d.kind = $3
                  AND d.app_id = $1
                  AND d.customer_id = $2
                  AND ($4::jsonb IS NULL
                       OR d.created_at < ($4::jsonb ->> 0)::timestamptz
                       OR d.created_at = ($4::jsonb ->> 0)::timestamptz AND d.id > ($4::jsonb ->> 1)::uuid)
                ORDER BY d.created_at DESC, d.id
                LIMIT $5),
            taken AS (
                SELECT s.record, s.created_at, s.id
                FROM (SELECT d.record, page.created_at, page.id,
                             sum(octet_length(d.record)) OVER (ORDER BY page.created_at DESC, page.id) AS bytes
                      FROM page
                      JOIN service.dependents AS d ON d.kind = $3 AND d.app_id = $1 AND d.id = page.id) AS s
                WHERE s.bytes - octet_length(s.record) < $6)
            SELECT string_agg(t.record, ',' ORDER BY t.created_at DESC, t.id) AS records,
                   CASE WHEN count(*) = $5 OR count(*) < (SELECT count(*) FROM page)
                        THEN (array_agg(jsonb_build_array(t.created_at, t.id) ORDER BY t.created_at, t.id DESC))[1]
                   END AS last
            FROM taken AS t
            """,
            [
                .uuid(appID), .uuid(customerID), .text(kind.rawValue), .text(after), .int(PageRows.sorted),
                .int(Self.pageBytes),
            ],
            prepared: false
        )
    }

    /// Newest first, from the last one that there was when the export began.
    private func entries(before seq: String?) -> Statement {
        Statement(
            """
            WITH page AS MATERIALIZED (
                SELECT service.audit_entry(e) AS record, e.seq
                FROM audit.entries AS e
                WHERE e.app_id = $1
                  AND e.customer_id = $2
                  AND e.seq < $3
                ORDER BY e.seq DESC
                LIMIT $4),
            taken AS (
                SELECT s.record, s.seq
                FROM (SELECT page.*, sum(octet_length(page.record)) OVER (ORDER BY page.seq DESC) AS bytes
                      FROM page) AS s
                WHERE s.bytes - octet_length(s.record) < $5)
            SELECT string_agg(t.record, ',' ORDER BY t.seq DESC) AS records,
                   CASE WHEN count(*) = $4 OR count(*) < (SELECT count(*) FROM page) THEN min(t.seq) END AS last
            FROM taken AS t
            """,
            [
                .uuid(appID), .uuid(customerID), .text(seq ?? "\(lastSeq + 1)"), .int(PageRows.indexed),
                .int(Self.pageBytes),
            ]
        )
    }

    // MARK: - Other tables

    private func others(_ write: (String) async throws -> Void) async throws {
        let deadline = ContinuousClock.now + Self.pageTimeout
        let tables = try await pool.withConnection(for: appID, deadline: deadline) {
            connection throws(DatabaseError) in
            try await connection.query(
                Statement("SELECT key, table_name, constraint_name, is_readable FROM service.referring_tables()"),
                deadline: deadline
            ).rows
        }
        var separator = ""
        for table in tables {
            let key: String = try table.get("key")
            let constraintName: String = try table.get("constraint_name")
            // The service's own: what isn't there isn't named.
            if constraintName == Self.holdKey, try await texts(rows(key, after: nil)).records == nil { continue }
            let name = JSON.string(try table.get("table_name")).text
            let constraint = JSON.string(constraintName).text
            try await write(#"\#(separator){"table":\#(name),"constraint":\#(constraint),"rows":"#)
            separator = ","
            if try table.get("is_readable") {
                try await write("[")
                try await pages(write) { after in rows(key, after: after) }
                try await write("]}")
            } else {
                try await write("null}")
            }
        }
    }

    private func rows(_ key: String, after: String?) -> Statement {
        Statement(
            "SELECT records, last FROM service.referring_rows($1, $2, $3, $4, $5, $6)",
            [
                .uuid(appID), .uuid(customerID), .text(key), .text(after), .int(PageRows.sorted), .int(Self.pageBytes),
            ]
        )
    }
}
