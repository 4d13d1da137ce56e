import Customers
import HTTPTypes
import Hummingbird

/// The writes under `/api/v0/customers`, a route for each row of the table.
struct WriteRoutes: Sendable {
    let write: Write
    let operations: [WriteOperation]
    let limits: Limits

    var routes: [Route] {
        operations.map { operation in
            Route(HTTPRequest.Method(operation.method)!, operation.path) { request, context in
                Response(await write(operation, try await WriteRequest(request, context, limits)))
            }
        }
    }
}

extension WriteRequest {
    /// - Throws: when the body is too large or doesn't arrive.
    fileprivate init(_ request: Request, _ context: APIContext, _ limits: Limits) async throws(APIError) {
        guard let edge = context.edge else { throw .unforeseen }
        let deadline = context.arrival + limits.requestTimeout
        // Where a body is ignored it has to be read all the same, before the connection can go on.
        let body = Array(buffer: try await request.wholeBody(deadline: deadline))
        self.init(
            credentials: edge.credentials,
            context: edge.context,
            customerID: context.customerID,
            idempotencyKey: edge.idempotencyKey,
            ifMatch: edge.ifMatch,
            invalidity: edge.invalidity,
            body: body,
            deadline: deadline
        )
    }
}
