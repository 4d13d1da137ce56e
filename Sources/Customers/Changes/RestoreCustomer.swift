import LibPQ

/// The unit of work that brings a deleted customer back from its before-image.
public struct RestoreCustomer: Sendable {
    private let unitOfWork: UnitOfWork
    private let days: Int

    /// - Parameter days: how long after a deletion; 0 switches restoring off.
    public init(unitOfWork: UnitOfWork, days: Int) {
        self.unitOfWork = unitOfWork
        self.days = days
    }

    /// What a key needs. Nobody may while restoring is off.
    public var permissions: [Permission] {
        days > 0 ? [.restoreCustomers] : [.restoreCustomers, .nobody]
    }

    func callAsFunction(
        _ customerID: UUID,
        lease: inout Lease,
        deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Finished {
        let notFound = APIError.customerNotFound.answer
        let ending = try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                Statement("SELECT service.await_redactions($1)", [.uuid(lease.appID)]),
                CustomerRow.locked(customerID, lease),
                Statement("SELECT service.record_deletion($1, $2)", [.uuid(lease.appID), .uuid(customerID)]),
                Statement(
                    """
                    WITH deletion AS (
                        SELECT d.before_image AS image, d.deleted_at > now() - make_interval(days => $6) AS is_recent
                        FROM service.last_deletion($1, $2) AS d
                        WHERE d.deleted_at IS NOT NULL),
                    restored AS (
                        INSERT INTO public.customers AS c
                            (app_id, id, first_name, last_name, email, phone_number, status, customer_type,
                             last_spent, last_purchase_date, created_at, updated_at)
                        SELECT $1, $2, image ->> 'first_name', image ->> 'last_name', image ->> 'email',
                               image ->> 'phone_number', image ->> 'status', image ->> 'customer_type',
                               (image ->> 'last_spent')::numeric, (image ->> 'last_purchase_date')::timestamptz,
                               (image ->> 'createdAt')::timestamptz, clock_timestamp()
                        FROM deletion
                        WHERE image IS NOT NULL AND is_recent
                        ON CONFLICT ON CONSTRAINT customers_pkey DO NOTHING
                        RETURNING service.record(c) AS record)
                    SELECT CASE
                               WHEN restored.record IS NOT NULL THEN restored.record
                               WHEN EXISTS (SELECT FROM public.customers AS c WHERE c.app_id = $1 AND c.id = $2)
                                   THEN 'EXISTS'
                               WHEN deletion.is_recent IS NULL THEN 'NOT_FOUND'
                               WHEN deletion.image IS NULL OR NOT deletion.is_recent THEN 'GONE'
                               ELSE 'EXISTS' END,
                           CASE
                               WHEN restored.record IS NOT NULL
                                   THEN service.finish($1, $3, 'SUCCEEDED', 200, restored.record, NULL)
                               WHEN deletion.is_recent IS NULL
                                    AND NOT EXISTS (SELECT FROM public.customers AS c WHERE c.app_id = $1 AND c.id = $2)
                                   THEN service.finish($1, $3, 'NOT_FOUND', $4, $5, NULL) END
                    FROM (SELECT 1) AS always LEFT JOIN deletion ON true LEFT JOIN restored ON true
                    """,
                    [
                        .uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .int(notFound.status),
                        .text(notFound.body), .int(days),
                    ]
                ),
            ]
        )
        return try ending.finished { results throws(UnitOfWorkError) in
            let living = CustomerRow.record(results.dropFirst().first)
            switch results.last?.rows.first?[0] {
            case "EXISTS": return Finished(.conflict, APIError.customerExists.answer, beforeImage: living)
            case "GONE": return Finished(.conflict, APIError.notRestorable.answer)
            case "NOT_FOUND": return Finished(.notFound, notFound)
            case let record?: return Finished(.succeeded, .record(record))
            case nil: throw .leaseLost
            }
        }
    }
}
