import LibPQ

extension ReadOperation {
    /// What the key of the request is and may do, so that a program for people shows only that.
    ///
    /// - Parameter switchedOff: permissions that nothing is to be had by, as the service is set.
    static func describeKey(switchedOff: [Permission]) -> ReadOperation {
        queries("/key", [.any]) { request throws(Invalidity) in
            { connection, caller throws(DatabaseError) in
                let statement = Statement(
                    "SELECT service.describe_key($1, $2, $3)",
                    [.uuid(caller.appID), .uuid(caller.keyID), .array(switchedOff.map(\.rawValue))])
                let row = try await connection.query(statement, deadline: request.deadline).rows.first
                // Keys are revoked, never deleted, and this one was admitted a moment ago.
                guard let key = row?[0] else { throw .unexpected("a caller without a key") }
                return Answer(status: 200, body: key)
            }
        }
    }
}
