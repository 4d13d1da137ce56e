import Customers
import HTTPTypes
import Hummingbird

/// What is under `/api/v0`: a route for each row of the table of operations.
struct APIRoutes: Sendable {
    let read: Read
    let write: Write
    let operations: Operations
    let limits: Limits

    var routes: [Route] {
        operations.reads.map { operation in
            Route(.get, operation.path, answersHead: !operation.leavesEntry) { request, context in
                Response(await read(operation, try apiRequest(request, context, body: []))).unlessKnown(to: request)
            }
        }
            + operations.writes.map { operation in
                Route(HTTPRequest.Method(operation.method)!, operation.path) { request, context in
                    // Where a body is ignored it has to be read all the same, before the next request.
                    let body = try await request.wholeBody(deadline: context.arrival + limits.requestTimeout)
                    let asked = try apiRequest(request, context, body: Array(buffer: body))
                    return Response(await write(operation, asked))
                }
            }
    }

    private func apiRequest(
        _ request: Request, _ context: APIContext, body: [UInt8]
    ) throws(APIError) -> APIRequest {
        guard let edge = context.edge else { throw .unforeseen }
        return APIRequest(
            credentials: edge.credentials,
            context: edge.context,
            id: context.id,
            query: request.uri.query ?? "",
            idempotencyKey: edge.idempotencyKey,
            ifMatch: edge.ifMatch,
            invalidity: edge.invalidity,
            body: body,
            deadline: context.arrival + limits.requestTimeout
        )
    }
}
