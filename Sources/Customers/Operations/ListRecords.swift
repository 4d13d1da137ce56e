import LibPQ

/// A kind of records that belong to a customer, by its table in schema public.
public enum Dependents: String, Sendable, Hashable, CaseIterable {
    case invoices
    case paymentLinks = "payment_links"
    case transactions
    case liquidationAddresses = "liquidation_addresses"

    /// The function that renders a row.
    var renderer: String {
        switch self {
        case .invoices: "service.invoice"
        case .paymentLinks: "service.payment_link"
        case .transactions: "service.transaction"
        case .liquidationAddresses: "service.liquidation_address"
        }
    }
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
                    """
                    SELECT (SELECT string_agg(\(search.kind.renderer)(ROW(d.*)), ',' ORDER BY page.created_at DESC, page.id)
                            FROM (SELECT d.id, d.created_at
                                  FROM public.\(search.kind.rawValue) AS d
                                  WHERE d.app_id = $1 AND d.customer_id = $2
                                  ORDER BY d.created_at DESC, d.id
                                  OFFSET $3
                                  LIMIT $4) AS page
                            JOIN public.\(search.kind.rawValue) AS d ON d.app_id = $1 AND d.id = page.id) AS records,
                           (SELECT count(*)
                            FROM public.\(search.kind.rawValue) AS d
                            WHERE d.app_id = $1 AND d.customer_id = $2) AS total
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND c.id = $2
                    """,
                    [.uuid(caller.appID), .uuid(search.customerID), .int(page.skip), .int(page.take)],
                    prepared: false
                ),
                deadline: deadline
            ).rows
            guard let row = rows.first else { return APIError.customerNotFound.answer }
            return page.answer(records: row["records"], total: row.int("total") ?? 0)
        }
    }
}
