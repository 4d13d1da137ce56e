import LibPQ

extension CustomerQueries {
    /// Whether a DELETE would succeed now, and if not, which foreign keys refuse it and how many rows each.
    ///
    /// The database asks its own catalogue, so a table that was added yesterday is counted too.
    public func deletionCheck(
        _ customerID: Result<UUID, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readCustomers], customerID, deadline: deadline) {
            connection, caller, customerID, deadline throws(DatabaseError) in
            let check = try await connection.query(
                Statement(
                    """
                    SELECT customer, deletable, blockers
                    FROM service.deletion_check($1, $2)
                    """,
                    [.uuid(caller.appID), .uuid(customerID)]
                ),
                deadline: deadline
            ).rows.first
            guard
                let check, let customer = check["customer"], let isDeletable = check.bool("deletable"),
                let blockers = check["blockers"]
            else { return APIError.customerNotFound.answer }
            let body: JSON = [
                "customer": .raw(customer), "deletable": .bool(isDeletable), "blockers": .raw(blockers),
            ]
            return Answer(status: 200, body: body.text)
        }
    }
}
