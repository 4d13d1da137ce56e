import LibPQ

/// The row of a customer inside a unit of work.
enum CustomerRow {
    /// Reads the before-image and locks the row until the end of the transaction.
    static func locked(_ customerID: UUID, _ lease: Lease) -> Statement {
        Statement(
            """
            SELECT service.record(c)
            FROM public.customers AS c
            WHERE c.app_id = $1 AND c.id = $2
            FOR UPDATE
            """,
            [.uuid(lease.appID), .uuid(customerID)]
        )
    }

    /// The before-image that the statement read; nil when there is no such row.
    static func record(_ result: QueryResult?) -> String? {
        result?.rows.first?[0]
    }
}
