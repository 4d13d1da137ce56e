import LibPQ

extension ReadOperation {
    /// Whether a DELETE would succeed now, which foreign keys refuse it, and which would delete or change rows.
    ///
    /// The database tries the DELETE and rolls it back, and reads the keys from its own catalog, so that a table which
    /// was added yesterday is counted too. SQL: sql/functions/deletion_check.sql.
    static let checkDeletion = one(
        "/customers/{id}/deletion-check", .readCustomers,
        """
        SELECT customer, deletable, blockers, cascades
        FROM service.deletion_check($1, $2)
        """
    ) { check throws(DatabaseError) in
        guard let customer = check?["customer"], let check else { return APIError.customerNotFound.answer }
        let body: JSON = [
            "customer": .raw(customer), "deletable": .bool(try check.get("deletable")),
            "blockers": .raw(try check.get("blockers")), "cascades": .raw(try check.get("cascades")),
        ]
        return Answer(status: 200, body: body.text)
    }
}

extension ConnectionPool {
    /// How a deletion of one of many customers would end now, and the record that it would delete.
    func checkDeletion(
        of customerID: UUID, _ appID: UUID, deadline: ContinuousClock.Instant
    ) async throws(DatabaseError) -> (outcome: Outcome, record: String?) {
        let row = try await row(
            Statement("SELECT outcome, customer FROM service.check_item($1, $2)", [.uuid(appID), .uuid(customerID)]),
            for: appID, deadline: deadline)
        return (try row.get("outcome"), row["customer"])
    }
}
