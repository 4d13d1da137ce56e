import LibPQ

extension CustomerQueries {
    /// All that is held about one person, in one document: the record, or null once it is deleted, what refers to it,
    /// and every audit entry. One statement, so one snapshot.
    ///
    /// Source: GDPR, article 15.
    public func export(
        _ customerID: Result<UUID, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readCustomers, .readAudit], customerID, deadline: deadline) {
            connection, caller, customerID, deadline throws(DatabaseError) in
            let export = try await connection.query(
                Statement(
                    """
                    WITH dependents AS MATERIALIZED (
                        SELECT d.kind, string_agg(d.record, ',' ORDER BY d.created_at DESC, d.id) AS records
                        FROM service.dependents AS d
                        WHERE d.app_id = $1 AND d.customer_id = $2
                        GROUP BY d.kind)
                    SELECT (SELECT service.record(c)
                            FROM public.customers AS c
                            WHERE c.app_id = $1 AND c.id = $2) AS customer,
                           (SELECT records FROM dependents WHERE kind = 'invoices') AS invoices,
                           (SELECT records FROM dependents WHERE kind = 'payment_links') AS payment_links,
                           (SELECT records FROM dependents WHERE kind = 'transactions') AS transactions,
                           (SELECT records FROM dependents WHERE kind = 'liquidation_addresses') AS liquidation_addresses,
                           (SELECT string_agg(service.audit_entry(e), ',' ORDER BY e.seq DESC)
                            FROM audit.entries AS e
                            WHERE e.app_id = $1 AND e.customer_id = $2) AS audit_entries
                    """,
                    [.uuid(caller.appID), .uuid(customerID)]
                ),
                deadline: deadline
            ).rows.first
            guard let export, export["customer"] != nil || export["audit_entries"] != nil else {
                return APIError.customerNotFound.answer
            }
            let lists = Dependents.allCases.map(\.rawValue) + ["audit_entries"]
            let body = JSON.object(
                [.init(name: "customer", value: .raw(export["customer"]))]
                    + lists.map { .init(name: $0, value: .raw("[\(export[$0] ?? "")]")) }
            )
            return Answer(status: 200, body: body.text)
        }
    }
}
