import LibPQ

extension CustomerQueries {
    /// Whether a DELETE would succeed now, which foreign keys refuse it, and which would take rows along.
    ///
    /// The database tries the DELETE and rolls it back, and reads the keys from its own catalog, so that a table which
    /// was added yesterday is counted too. SQL: sql/functions/references.sql.
    public func deletionCheck(
        _ customerID: Result<UUID, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readCustomers], customerID, deadline: deadline) {
            connection, caller, customerID, deadline throws(DatabaseError) in
            let check = try await connection.query(
                Statement(
                    """
                    SELECT customer, deletable, blockers, cascades
                    FROM service.deletion_check($1, $2)
                    """,
                    [.uuid(caller.appID), .uuid(customerID)]
                ),
                deadline: deadline
            ).rows.first
            guard
                let check, let customer = check["customer"], let isDeletable = check.bool("deletable"),
                let blockers = check["blockers"], let cascades = check["cascades"]
            else { return APIError.customerNotFound.answer }
            let body: JSON = [
                "customer": .raw(customer), "deletable": .bool(isDeletable), "blockers": .raw(blockers),
                "cascades": .raw(cascades),
            ]
            return Answer(status: 200, body: body.text)
        }
    }
}
