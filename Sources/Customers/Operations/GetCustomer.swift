import LibPQ

/// What can be asked about customers. Each query is an answer by itself: the database renders, nothing is re-encoded.
public struct CustomerQueries: Sendable {
    let read: Read

    public init(read: Read) {
        self.read = read
    }

    /// The record, with its `ETag`.
    public func customer(
        _ customerID: Result<UUID, Invalidity>, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Answer {
        await read(credentials, [.readCustomers], customerID, deadline: deadline) {
            connection, caller, customerID, deadline throws(DatabaseError) in
            let rows = try await connection.query(
                Statement(
                    """
                    SELECT service.record(ROW(c.*))
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND c.id = $2
                    """,
                    [.uuid(caller.appID), .uuid(customerID)]
                ),
                deadline: deadline
            ).rows
            guard let record = rows.first?[0] else { return APIError.customerNotFound.answer }
            return .record(record)
        }
    }
}
