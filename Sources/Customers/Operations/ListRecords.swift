import LibPQ

/// A kind of records that belong to a customer, as `service.dependents` names it.
public enum Dependents: String, Sendable, Hashable, CaseIterable {
    case invoices
    case paymentLinks = "payment_links"
    case transactions
    case liquidationAddresses = "liquidation_addresses"
}

/// Which records of a customer a list shows.
public struct DependentsSearch: Sendable, Hashable {
    public var kind: Dependents
    public var customerID: UUID
    public var page: Page

    public init(kind: Dependents, customerID: UUID, page: Page) {
        self.kind = kind
        self.customerID = customerID
        self.page = page
    }
}

extension CustomerQueries {
    /// A page of the records of one kind, newest first.
    public func dependents(
        _ search: Result<DependentsSearch, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readCustomers], search, deadline: deadline) {
            connection, caller, search, deadline throws(DatabaseError) in
            let page = search.page
            let rows = try await connection.query(
                Statement(
                    // Unprepared, so that it is planned for one kind, which is one table.
                    """
                    SELECT (SELECT string_agg(d.record, ',' ORDER BY page.created_at DESC, page.id)
                            FROM (SELECT d.id, d.created_at
                                  FROM service.dependents AS d
                                  WHERE d.kind = $3 AND d.app_id = $1 AND d.customer_id = $2
                                  ORDER BY d.created_at DESC, d.id
                                  OFFSET $4
                                  LIMIT $5) AS page
                            JOIN service.dependents AS d ON d.kind = $3 AND d.app_id = $1 AND d.id = page.id) AS records,
                           (SELECT count(*)
                            FROM service.dependents AS d
                            WHERE d.kind = $3 AND d.app_id = $1 AND d.customer_id = $2) AS total
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND c.id = $2
                    """,
                    [
                        .uuid(caller.appID), .uuid(search.customerID), .text(search.kind.rawValue), .int(page.skip),
                        .int(page.take),
                    ],
                    prepared: false
                ),
                deadline: deadline
            ).rows
            guard let row = rows.first else { return APIError.customerNotFound.answer }
            return page.answer(records: row["records"], total: row.int("total") ?? 0)
        }
    }
}
