import Crypto
public import Foundation
import LibPQ

/// What can be asked about customers. Each query is an answer by itself: the database renders, nothing is re-encoded.
public struct CustomerQueries: Sendable {
    private let readPath: ReadPath

    public init(readPath: ReadPath) {
        self.readPath = readPath
    }

    /// The record, with its `ETag`.
    public func customer(
        _ customerID: UUID?, _ credentials: Credentials, deadline: ContinuousClock.Instant
    ) async -> Reply {
        let invalidity = customerID == nil ? Invalidity.customerIDIsNoUUID : nil
        return await readPath.reply(credentials, [.readCustomers], invalidity, deadline: deadline) {
            connection, caller, deadline throws(DatabaseError) in
            let rows = try await connection.query(
                Statement(
                    """
                    SELECT service.record(c)
                    FROM public.customers AS c
                    WHERE c.app_id = $1 AND c.id = $2
                    """,
                    [.uuid(caller.appID), .uuid(customerID)]
                ),
                deadline: deadline
            ).rows
            guard let record = rows.first?[0] else { return APIError.customerNotFound.answer }
            var answer = Answer(status: 200, body: record)
            answer.etag = EntityTag(of: record).text
            return answer
        }
    }
}
