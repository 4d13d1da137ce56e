import LibPQ

/// A kind of records that belong to a customer, by its table in schema public.
enum Dependents: String, Sendable, CaseIterable {
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

extension ReadOperation {
    /// A page of a customer's records of one kind, newest first.
    static func list(_ kind: Dependents) -> ReadOperation {
        let name = kind.rawValue.replacing("_", with: "-")
        return ReadOperation("/customers/{id}/\(name)", [.readCustomers]) { request throws(Invalidity) in
            let (customerID, page) = (try request.pathID(), try Page(request.parameters))
            return Query { appID in
                Statement(
                    """
                    SELECT (SELECT string_agg(\(kind.renderer)(ROW(d.*)), ',' ORDER BY page.created_at DESC, page.id)
                            FROM (SELECT d.id, d.created_at
                                  FROM public.\(kind.rawValue) AS d
                                  WHERE d.app_id = $1 AND d.customer_id = $2
                                  ORDER BY d.created_at DESC, d.id
                                  OFFSET $3
                                  LIMIT $4) AS page
                            JOIN public.\(kind.rawValue) AS d ON d.app_id = $1 AND d.id = page.id) AS records,
                           (SELECT count(*)
                            FROM public.\(kind.rawValue) AS d
                            WHERE d.app_id = $1 AND d.customer_id = $2) AS total
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND c.id = $2
                    """,
                    [.uuid(appID), .uuid(customerID), .int(page.skip), .int(page.take)],
                    prepared: false
                )
            } _: { found throws(DatabaseError) in
                guard let row = found.rows.first else { return APIError.customerNotFound.answer }
                return page.answer(records: row["records"], total: try row.get("total"))
            }
        }
    }
}
