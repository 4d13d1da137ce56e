public import LibPQ
public import Logging

/// `GET /customers/{id}/export`: all that is held about one person, in one document of any size.
///
/// The record, or null once it is deleted; its dependents; the audit entries that there were when it was asked for; and
/// the rows of every other table that refers to the customer, or null where they can't be read. Its own entry is durable
/// before the first byte leaves.
///
/// The document is read page by page. Each page has a connection of the pool and a snapshot of its own, so neither
/// memory nor the database suffers from a large document or a slow client. What is added or removed while it is read
/// may be in it or not; everything else is in it once. A table without a primary key is read in the order in which its
/// rows lie: one that is updated meanwhile may be missing or come twice.
///
/// Source: GDPR, article 15.
public struct SubjectExport: Sendable {
    private let admission: Admission
    private let execution: Execution
    private let pool: ConnectionPool
    private let logger: Logger

    public init(admission: Admission, execution: Execution, pool: ConnectionPool, logger: Logger) {
        self.admission = admission
        self.execution = execution
        self.pool = pool
        self.logger = logger
    }

    /// What a client gets.
    public enum Reply: Sendable {
        case answer(Answer)
        /// The head of the answer, and its body.
        case document(Answer, SubjectDocument)
    }

    /// Admission → entry → document.
    ///
    /// - Parameters:
    ///   - customerID: the `{id}` of the path, or what is wrong with it.
    ///   - invalidity: what is wrong with the optional headers, if anything.
    ///   - deadline: by when the first byte leaves.
    public func callAsFunction(
        _ customerID: Result<UUID, Invalidity>, _ credentials: Credentials, _ context: AttemptContext,
        _ invalidity: Invalidity?, deadline: ContinuousClock.Instant
    ) async -> Reply {
        let attempt = Attempt(
            customerID: try? customerID.get(), customerID.failure ?? invalidity, context, deadline: deadline)
        var rate: RateStatus?
        do throws(WriteError) {
            let decision = try await decide(attempt, credentials)
            rate = decision.rate
            if let refusal = decision.refusal ?? attempt.invalidity.map({ (.invalid, .invalid($0)) }) {
                return .answer(try await refuse(attempt, decision, refusal.outcome, refusal.error).with(rate))
            }
            guard let caller = decision.caller, let customerID = attempt.key.customerID else {
                throw .failed(.unexpected("an export is admitted without a key"))
            }
            let document = SubjectDocument(appID: caller.appID, customerID: customerID, pool: pool, logger: logger)
            guard let document = try await document.begun(deadline: deadline) else {
                return .answer(try await refuse(attempt, decision, .notFound, .customerNotFound).with(rate))
            }
            try await execution.record(AuditEntry(attempt, decision, .succeeded, nil), until: deadline)
            return .document(Answer(status: 200, body: "").with(rate), document)
        } catch {
            return .answer(answer(to: error).with(rate))
        }
    }

    private func decide(_ attempt: Attempt, _ credentials: Credentials) async throws(WriteError) -> Admission.Decision {
        do {
            return try await admission.authorize(attempt, credentials)
        } catch {
            throw WriteError(error)
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

    private func answer(to error: WriteError) -> Answer {
        if case .failed(let cause) = error {
            logger.error("an export failed", metadata: ["error": "\(cause)"])
            return APIError.unforeseen.answer
        }
        logger.warning("an export is unavailable", metadata: ["error": "\(error)"])
        return APIError.unavailable.answer
    }
}

extension Attempt {
    fileprivate init(
        customerID: UUID?, _ invalidity: Invalidity?, _ context: AttemptContext, deadline: ContinuousClock.Instant
    ) {
        self.init(
            id: .random(),
            key: AttemptKey(action: .exportCustomer, customerID: customerID),
            idempotencyKey: nil,
            invalidity: invalidity,
            fingerprint: [],
            context: context,
            cost: 1,
            permissions: [.readCustomers, .readAudit],
            deadline: deadline)
    }
}

extension Result {
    fileprivate var failure: Failure? {
        if case .failure(let failure) = self { failure } else { nil }
    }
}

/// The document of an export, on its way.
public struct SubjectDocument: Sendable {
    /// Rows of a page. Without an index in its order, each page sorts all rows of the customer, so such pages are long.
    private enum PageRows {
        static let indexed = 500
        static let sorted = 3_000
    }

    /// Bytes after which a page ends.
    private static let pageBytes = 1024 * 1024
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
            let row = try await query(
                Statement(
                    """
                    SELECT (SELECT service.record(ROW(c.*))
                            FROM public.customers AS c
                            WHERE c.app_id = $1 AND c.id = $2) AS record,
                           (SELECT max(e.seq)
                            FROM audit.entries AS e
                            WHERE e.app_id = $1 AND e.customer_id = $2) AS last_seq,
                           EXISTS (SELECT
                                   FROM audit.entries AS e
                                   WHERE e.app_id = $1 AND e.customer_id = $2
                                     AND e.action <> 'customer.export') AS is_in_trail
                    """,
                    [.uuid(appID), .uuid(customerID)]
                ),
                deadline: deadline)
            document.record = row["record"]
            document.lastSeq = row.int("last_seq") ?? 0
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
    public func write(_ write: (String) async throws -> Void) async throws {
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
            let isFirst = after == nil
            let records: String?
            (records, after) = try await texts(page(after))
            if let records { try await write(isFirst ? records : "," + records) }
        } while after != nil
    }

    /// A row keeps the memory of its whole result alive, so only its texts go on.
    private func texts(_ page: Statement) async throws(DatabaseError) -> (records: String?, last: String?) {
        let row = try await query(page, deadline: .now + Self.pageTimeout)
        return (row["records"], row["last"])
    }

    private func query(
        _ statement: Statement, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> Row {
        try await Backoff.retrying(until: deadline) { () throws(DatabaseError) -> Row in
            try await pool.withConnection(for: appID, deadline: deadline) { connection throws(DatabaseError) in
                try await connection.query(statement, deadline: deadline).row()
            }
        }
    }

    /// Newest first.
    private func dependents(_ kind: Dependents, after: String?) -> Statement {
        Statement(
            """
            WITH page AS MATERIALIZED (
                SELECT d.id, d.created_at
                FROM public.\(kind.rawValue) AS d
                WHERE d.app_id = $1
                  AND d.customer_id = $2
                  AND ($3::jsonb IS NULL
                       OR d.created_at < ($3::jsonb ->> 0)::timestamptz
                       OR d.created_at = ($3::jsonb ->> 0)::timestamptz AND d.id > ($3::jsonb ->> 1)::uuid)
                ORDER BY d.created_at DESC, d.id
                LIMIT $4),
            taken AS (
                SELECT s.record, s.created_at, s.id
                FROM (SELECT r.record, r.created_at, r.id,
                             sum(octet_length(r.record)) OVER (ORDER BY r.created_at DESC, r.id) AS bytes
                      FROM (SELECT \(kind.renderer)(ROW(d.*)) AS record, page.created_at, page.id
                            FROM page
                            JOIN public.\(kind.rawValue) AS d ON d.app_id = $1 AND d.id = page.id
                            OFFSET 0) AS r) AS s
                WHERE s.bytes - octet_length(s.record) < $5)
            SELECT string_agg(t.record, ',' ORDER BY t.created_at DESC, t.id) AS records,
                   CASE WHEN count(*) = $4 OR count(*) < (SELECT count(*) FROM page)
                        THEN (array_agg(jsonb_build_array(t.created_at, t.id) ORDER BY t.created_at, t.id DESC))[1]
                   END AS last
            FROM taken AS t
            """,
            [
                .uuid(appID), .uuid(customerID), .text(after), .int(PageRows.sorted), .int(Self.pageBytes),
            ],
            prepared: false
        )
    }

    /// Newest first, from the last one that there was when the export began.
    private func entries(before seq: String?) -> Statement {
        Statement(
            """
            WITH page AS MATERIALIZED (
                SELECT service.audit_entry(ROW(e.*)) AS record, e.seq
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
        for (index, table) in tables.enumerated() {
            let key: String = try table.get("key")
            let name = JSON.string(try table.get("table_name")).text
            let constraint = JSON.string(try table.get("constraint_name")).text
            try await write(#"\#(index == 0 ? "" : ","){"table":\#(name),"constraint":\#(constraint),"rows":"#)
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
