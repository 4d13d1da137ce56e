import LibPQ

/// `DELETE /customers/{id}`: deletes a customer, irreversibly, unless something refers to it.
///
/// One transaction: before-image by `SELECT … FOR UPDATE`, the DELETE, the receipt, COMMIT. A foreign key that leads to
/// customers, directly or through keys that act, and fails at the DELETE or, when it is deferred, at the COMMIT, is a
/// refusal; so is another constraint that fails because such a key has changed a row. Any other violation is a failure.
/// Rows that such keys delete or change are counted before the DELETE, for `request.cascaded` of the entry.
///
/// The SQL about keys is in sql/functions/references.sql and reached.sql. Source: PostgreSQL manual, "Foreign Keys", "SET
/// CONSTRAINTS"; Appendix A, class 23.
struct DeleteCustomer: Sendable {
    let unitOfWork: UnitOfWork
    let pool: ConnectionPool

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        return WriteOperation.Plan { lease, deadline throws(WriteError) in
            try await run(customerID, ifMatch: ifMatch, &lease, deadline: deadline)
        }
    }

    /// - Parameter ifMatch: entity tags, one of which the record must have; nil for any.
    /// - Throws: when there is no receipt; then nothing was deleted, or the COMMIT is in doubt, as the error says.
    func run(
        _ customerID: UUID, ifMatch: [String]?, _ lease: inout Lease, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Receipt {
        let appID = lease.appID
        return try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                CustomerRow.locked(customerID, lease, .update),
                Statement(
                    """
                    -- The DELETE needs it, so it is counted before.
                    WITH cascading AS MATERIALIZED (
                        SELECT service.cascading($1, $2) AS request),
                    -- Keys are checked at the end of the statement, so one whose time is over doesn't refuse.
                    expired AS (
                        DELETE FROM public.legal_holds AS h
                        WHERE h.app_id = $1 AND h.customer_id = $2 AND h.until <= clock_timestamp()),
                    deleted AS (
                        DELETE FROM public.customers AS c
                        USING cascading
                        WHERE c.app_id = $1
                          AND c.id = $2
                          AND ($4::text[] IS NULL OR service.etag(service.record(c.*)) = ANY ($4))
                        RETURNING service.record(c.*) AS record, service.image(c.*) AS image, cascading.request)
                    SELECT receipt.*
                    FROM (SELECT) AS always
                    LEFT JOIN deleted ON true
                    -- Only a precondition can have kept a customer that is there. No key, no look-up. As a join, the planner
                    -- could read all customers of an app that it takes for small.
                    LEFT JOIN LATERAL (
                        SELECT service.image(c.*) AS image
                        FROM public.customers AS c
                        WHERE c.app_id = $1
                          AND c.id = CASE WHEN deleted.record IS NULL AND $4::text[] IS NOT NULL THEN $2::uuid END
                        LIMIT 1) AS kept ON true
                    CROSS JOIN LATERAL service.finish(
                        $1, $3,
                        CASE WHEN deleted.record IS NOT NULL THEN 'SUCCEEDED' WHEN kept.image IS NOT NULL THEN 'MISMATCH'
                             ELSE 'NOT_FOUND' END::service.ending,
                        coalesce(deleted.record, CASE WHEN kept.image IS NOT NULL THEN $6 ELSE $5 END),
                        coalesce(deleted.image, kept.image),
                        deleted.request) AS receipt
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .entityTags(ifMatch),
                        .text(APIError.customerNotFound.answer.body), .text(APIError.preconditionFailed.answer.body),
                    ]
                ),
            ],
            refusal: { violation, completed throws(WriteError) in
                guard
                    let image = CustomerRow.image(completed.first),
                    let failure = try await refusal(violation, appID, deadline: deadline)
                else { return nil }
                return Receipt(
                    AttemptKey(action: .deleteCustomer, customerID: customerID), .refused, .customerHasRecords,
                    beforeImage: image, failure: failure)
            }
        )
    }

    /// Steps ② and ③ of a deletion that is one of many, or whose time has come.
    func run(
        _ customerID: UUID, _ lease: inout Lease, in execution: Execution, until deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Receipt {
        let key = AttemptKey(action: .deleteCustomer, customerID: customerID)
        return try await execution.run(key, &lease, until: deadline) { lease, deadline throws(WriteError) in
            try await run(customerID, ifMatch: nil, &lease, deadline: deadline)
        }
    }

    /// The refusal that a violation is. A receipt's own key or a trigger raises the same; only the catalog knows.
    private func refusal(
        _ violation: ServerError, _ appID: UUID, deadline: ContinuousClock.Instant
    ) async throws(WriteError) -> Failure? {
        let statement = Statement(
            "SELECT referencing_table, constraint_name FROM service.refusal($1, $2, $3, $4, $5)",
            [
                .text(violation.sqlstate.rawValue), .text(violation.schema), .text(violation.table),
                .text(violation.column), .text(violation.constraint),
            ]
        )
        let row: Row
        do {
            row = try await pool.withConnection(for: appID, deadline: deadline) { connection throws(DatabaseError) in
                try await connection.query(statement, deadline: deadline).row()
            }
        } catch {
            throw .unavailable(error)
        }
        guard let constraint = row["constraint_name"], let table = row["referencing_table"] else { return nil }
        return Failure(refusal: violation, by: constraint, of: table)
    }
}

/// The row of a customer inside a unit of work.
enum CustomerRow {
    /// Source: PostgreSQL manual, "Row-Level Locks".
    enum Lock: String {
        /// Keeps new records away.
        case update = "FOR UPDATE"
        /// Lets records be added meanwhile.
        case noKeyUpdate = "FOR NO KEY UPDATE"
    }

    /// Reads the before-image and locks the row until the end of the transaction.
    static func locked(_ customerID: UUID, _ lease: Lease, _ lock: Lock) -> Statement {
        Statement(
            """
            SELECT service.image(c.*)
            FROM public.customers AS c
            WHERE c.app_id = $1 AND c.id = $2
            \(lock.rawValue)
            """,
            [.uuid(lease.appID), .uuid(customerID)]
        )
    }

    /// The before-image that the statement read; nil when there is no such row.
    static func image(_ result: QueryResult?) -> String? {
        result?.rows.first?[0]
    }
}

extension Parameter {
    /// The tags of `If-Match`; NULL for any, since the customer is there or not found.
    static func entityTags(_ tags: [String]?) -> Parameter {
        guard let tags, !tags.contains("*") else { return .null }
        return .array(tags)
    }
}
