import LibPQ

/// The unit of work that inserts a customer.
public struct CreateCustomer: Sendable {
    private let unitOfWork: UnitOfWork

    public init(unitOfWork: UnitOfWork) {
        self.unitOfWork = unitOfWork
    }

    /// - Parameter fields: members of the record, each valid; what is absent takes the column's default.
    func callAsFunction(
        _ customerID: UUID,
        _ fields: CustomerFields,
        lease: inout Lease,
        deadline: ContinuousClock.Instant
    ) async throws(UnitOfWorkError) -> Finished {
        let ending = try await unitOfWork.run(
            &lease,
            deadline: deadline,
            [
                Statement(
                    """
                    WITH created AS (
                        INSERT INTO public.customers AS c
                            (app_id, id, first_name, last_name, email, phone_number, customer_type, status)
                        SELECT $1, $2, f ->> 'first_name', f ->> 'last_name', f ->> 'email', f ->> 'phone_number',
                               coalesce(f ->> 'customer_type', 'Individual'), coalesce(f ->> 'status', 'ACTIVE')
                        FROM (SELECT $4::jsonb AS f) AS fields
                        RETURNING service.record(c) AS record)
                    SELECT created.record,
                           service.finish(
                               $1, $3, 'SUCCEEDED', 201, created.record, NULL,
                               jsonb_build_object('customer_id', $2::uuid))
                    FROM created
                    """,
                    [.uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .text(fields.json.text)]
                )
            ]
        )
        return try ending.finished { results throws(UnitOfWorkError) in
            guard let record = results.first?.rows.first?[0] else { throw .leaseLost }
            return Finished(.succeeded, .record(record, status: 201))
        }
    }
}
