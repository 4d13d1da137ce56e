import LibPQ

/// The unit of work that erases the personal data of a customer, living or deleted, everywhere at once.
///
/// Its audit entry is committed with it: a chain with a missing salt that no entry accounts for would be broken.
public struct RedactCustomer: Sendable {
    private let unitOfWork: UnitOfWork

    public init(unitOfWork: UnitOfWork) {
        self.unitOfWork = unitOfWork
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
                Statement(
                    "SELECT service.redact($1, $2, $3, $4)",
                    [.uuid(lease.appID), .uuid(lease.attemptID), .uuid(customerID), .text(notFound.body)]
                )
            ]
        )
        return try ending.finished { results throws(UnitOfWorkError) in
            // No before-image: it is what has just been erased.
            guard let record = results.first?.rows.first?[0] else { return Finished(.notFound, notFound) }
            return Finished(.succeeded, .record(record))
        }
    }
}
