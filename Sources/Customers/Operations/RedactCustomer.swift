import LibPQ

/// `POST /customers/{id}/redact`: erases the personal data of a customer, living or deleted, everywhere.
///
/// The unit of work erases the row and the first stored answers; its audit entry then declares that the subject data of
/// every earlier entry is erased, and after that the trail is erased in batches, the first of them before the answer. The SQL
/// stands in sql/functions/redaction.sql and erasure.sql.
struct RedactCustomer: Sendable {
    /// Entries of a batch, which is a transaction of its own.
    private static let batch = 1000

    let unitOfWork: UnitOfWork
    let pool: ConnectionPool

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let (customerID, ifMatch) = (try request.pathID(), request.ifMatch)
        var plan = WriteOperation.Plan(in: unitOfWork) { lease in
            Statement(
                "SELECT * FROM service.redact($1, $2, $3, $4, $5, $6, $7, $8)",
                [
                    .uuid(lease.appID), .uuid(lease.attemptID), .uuid(customerID), .int(Self.batch),
                    .entityTags(ifMatch), .text(APIError.customerNotFound.answer.body),
                    .text(APIError.preconditionFailed.answer.body), .text(APIError.customerHeld.answer.body),
                ]
            )
        }
        plan.afterwards = { lease in await erase(customerID, lease, deadline: request.deadline) }
        return plan
    }

    /// The first batches, until half of the time is gone. What is left, recovery erases; readers skip it meanwhile.
    /// Between two batches it rests as long as one took, so that half of the time is others'.
    private func erase(_ customerID: UUID, _ lease: Lease, deadline: ContinuousClock.Instant) async {
        let end = deadline - (deadline - .now) / 2
        let statement = Statement(
            "SELECT service.erase($1, $2, $3) AS is_erased",
            [.uuid(lease.appID), .uuid(customerID), .int(Self.batch)])
        while ContinuousClock.now < end {
            let start = ContinuousClock.now
            let isErased: Bool? = try? await pool.withConnection(for: lease.appID, deadline: end) {
                connection throws(DatabaseError) in
                try await connection.perform(statement, deadline: end).row().get("is_erased")
            }
            guard isErased == false else { return }
            try? await Task.sleep(until: min(end, .now + max(.now - start, .milliseconds(10))))
        }
    }
}
