import LibPQ

/// A kind of records that belong to a customer, as `service.dependents` names it.
enum Dependents: String, Sendable, CaseIterable {
    case invoices
    case paymentLinks = "payment_links"
    case transactions
    case liquidationAddresses = "liquidation_addresses"
}

extension ReadOperation {
    /// A page of a customer's records of one kind, newest first.
    static func list(_ kind: Dependents) -> ReadOperation {
        let name = kind.rawValue.replacing("_", with: "-")
        return ReadOperation("/customers/{id}/\(name)", [.readCustomers]) { request throws(Invalidity) in
            let (customerID, page) = (try request.pathID(), try Page(request.parameters))
            return Query { appID in
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
                        .uuid(appID), .uuid(customerID), .text(kind.rawValue), .int(page.skip),
                        .int(page.take),
                    ],
                    prepared: false
                )
            } _: { found throws(DatabaseError) in
                guard let row = found.rows.first else { return APIError.customerNotFound.answer }
                return page.answer(records: row["records"], total: try row.get("total"))
            }
        }
    }
}
