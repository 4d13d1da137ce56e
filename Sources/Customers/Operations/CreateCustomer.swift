import LibPQ

/// `POST /customers`: inserts a customer.
struct CreateCustomer: Sendable {
    let unitOfWork: UnitOfWork

    func plan(_ request: APIRequest) throws(Invalidity) -> WriteOperation.Plan {
        let fields = try CustomerFields(request.body, .new)
        // Made once an attempt, so that running the unit of work again inserts the same customer.
        let customerID = UUID.random()
        // Members of the record, each valid; what is absent takes the column's default.
        return WriteOperation.Plan(in: unitOfWork, body: request.body) { lease in
            Statement(
                """
                WITH created AS (
                    INSERT INTO public.customers AS c
                        (app_id, id, first_name, last_name, email, phone_number, customer_type, status)
                    SELECT $1, $2, f ->> 'first_name', f ->> 'last_name', f ->> 'email', f ->> 'phone_number',
                           coalesce(f ->> 'customer_type', 'Individual'), coalesce(f ->> 'status', 'ACTIVE')
                    FROM (SELECT $4::jsonb AS f) AS fields
                    RETURNING service.record(c.*) AS record)
                SELECT receipt.*
                FROM created
                CROSS JOIN LATERAL service.finish(
                    $1, $3, 'CREATED', created.record, NULL, NULL, $2) AS receipt
                """,
                [.uuid(lease.appID), .uuid(customerID), .uuid(lease.attemptID), .text(fields.json.text)]
            )
        }
    }
}
