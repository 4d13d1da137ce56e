import Customers
import Foundation
import HTTPTypes
import Hummingbird

/// The reads under `/api/v0/customers`.
struct ReadRoutes: Sendable {
    let customers: CustomerQueries
    let limits: Limits

    var routes: [Route] {
        [
            Route(.get, "/api/v0/customers/{id}", customer)
        ]
    }

    @Sendable private func customer(_ request: Request, _ context: APIContext) async throws -> Response {
        guard let edge = context.edge else { throw APIError.unforeseen }
        let reply = await customers.customer(
            context.customerID, edge.credentials, deadline: context.arrival + limits.requestTimeout)
        return Response(reply)
    }
}
