import Customers
import HTTPTypes
import Hummingbird
import LibPQ

/// The writes under `/api/v0/customers`, a route for each row of the table.
struct WriteRoutes: Sendable {
    let write: Write
    let operations: [WriteOperation]
    let limits: Limits

    var routes: [Route] {
        operations.map { operation in
            Route(HTTPRequest.Method(operation.method)!, operation.path) { request, context in
                let request = try await WriteRequest(request, context, limits)
                // A task of its own: a client that hangs up doesn't stop half-way what it asked for.
                let answer = await Task(executorPreference: Reactor.shared.taskExecutor) {
                    await write(operation, request)
                }.value
                await failpoint("answering")
                return Response(answer)
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
