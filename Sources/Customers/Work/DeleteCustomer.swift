public import LibPQ

/// The unit of work that deletes a customer, irreversibly, unless something refers to it.
///
/// One transaction: before-image by `SELECT … FOR UPDATE`, the DELETE, the receipt, COMMIT. A foreign key on
/// customers that fails, with SQLSTATE 23503 or 23001, at the DELETE or, when it is deferred, at the COMMIT, is a
/// refusal; any other violation is a failure.
///
/// Source: PostgreSQL manual, "Foreign Keys", "SET CONSTRAINTS"; Appendix A, class 23.
public struct DeleteCustomer: Sendable {
    private let unitOfWork: UnitOfWork
    private let pool: ConnectionPool

    public init(unitOfWork: UnitOfWork, pool: ConnectionPool) {
        self.unitOfWork = unitOfWork
        self.pool = pool
    }

    public enum Result: Sendable, Hashable {
        /// The record as it was, as the API renders it.
        case deleted(record: String)
        case refused(beforeImage: String, Failure)
        case notFound
    }

    /// - Throws: when there is no outcome; then nothing was deleted, or the COMMIT is in doubt, as the error says.
    public func callAsFunction(
        _ customerID: UUID,
        lease: inout Lease,
        deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Result {
        let notFound = APIError.customerNotFound.answer
        let ending = try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                CustomerRow.locked(customerID, lease),
                Statement(
                    """
                    WITH deleted AS (
                        DELETE FROM public.customers AS c
                        WHERE c.app_id = $1 AND c.id = $2
                        RETURNING service.record(c) AS record)
                    SELECT record,
                           CASE
                               WHEN record IS NULL THEN service.finish($1, $3, 'NOT_FOUND', $4, $5, NULL)
                               ELSE service.finish($1, $3, 'SUCCEEDED', 200, record, record)
                           END
                    FROM (SELECT (SELECT record FROM deleted) AS record) AS outcome
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID),
                        .int(notFound.status), .text(notFound.body),
                    ]
                ),
            ]
        )
        switch ending {
        case .committed(let results):
            // What was deleted, not what was found before: the row may have appeared in between.
            return Self.result(record: CustomerRow.record(results.last))
        case .settled(let receipt):
            return Self.result(record: receipt.beforeImage)
        case .violated(let error, let completed):
            guard
                let beforeImage = CustomerRow.record(completed.first),
                try await isReferenceToCustomers(error, deadline: deadline)
            else { throw .failed(.server(error)) }
            return .refused(beforeImage: beforeImage, Failure(refusal: error))
        }
    }

    private static func result(record: String?) -> Result {
        record.map { .deleted(record: $0) } ?? .notFound
    }

    /// A receipt's own key or somebody's trigger raises 23503 as well; only the catalogue knows.
    private func isReferenceToCustomers(
        _ error: ServerError,
        deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Bool {
        let statement = Statement(
            "SELECT service.is_reference_to_customers($1, $2, $3)",
            [.text(error.schema), .text(error.table), .text(error.constraint)]
        )
        do {
            return try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                try await connection.query(statement, deadline: deadline).rows.first?.bool(0) ?? false
            }
        } catch {
            throw .unavailable(error)
        }
    }
}

extension DeleteCustomer.Result {
    /// The one place where the result of a deletion becomes answer and entry.
    func finished(customerID: UUID) -> Finished {
        switch self {
        case .deleted(let record):
            Finished(.succeeded, Answer(status: 200, body: record), beforeImage: record)
        case .refused(let beforeImage, let failure):
            Finished(
                .refused, APIError.customerHasRecords(customerID).answer, beforeImage: beforeImage, failure: failure)
        case .notFound:
            Finished(.notFound, APIError.customerNotFound.answer)
        }
    }
}
