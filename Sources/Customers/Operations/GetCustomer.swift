import LibPQ

extension ReadOperation {
    /// The record, with its `ETag`.
    static let getCustomer = one(
        "/customers/{id}", .readCustomers,
        """
        SELECT service.record(c.*)
        FROM public.customers AS c
        WHERE c.app_id = $1 AND c.id = $2
        """
    ) { row throws(DatabaseError) in
        row?[0].map { Answer.record($0) } ?? APIError.customerNotFound.answer
    }
}
