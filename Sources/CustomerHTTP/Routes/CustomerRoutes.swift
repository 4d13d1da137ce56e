import Crypto
import Customers
import Foundation
import HTTPTypes
import Hummingbird

/// The routes under `/api/v0/customers`.
struct CustomerRoutes: Sendable {
    let deletion: DeletionUseCase
    let limits: Limits

    var routes: [Route] {
        [
            Route(.delete, "/api/v0/customers/{id}", delete)
        ]
    }

    @Sendable private func delete(_ request: Request, _ context: APIContext) async throws -> Response {
        let deadline = context.arrival + limits.requestTimeout
        // A body is accepted and ignored, but it has to be read before the connection can go on.
        _ = try await request.wholeBody(deadline: deadline)
        guard let edge = context.edge else { throw APIError.unforeseen }

        let customerID = context.customerID
        var invalidity = customerID == nil ? Invalidity.customerIDIsNoUUID : nil
        var idempotencyKey: UUID?
        switch edge.idempotencyKey {
        case .success(let key): idempotencyKey = key
        case .failure(let error): invalidity = invalidity ?? error.invalidity
        }
        let attempt = Attempt(
            action: .deleteCustomer,
            customerID: customerID,
            idempotencyKey: idempotencyKey,
            invalidity: invalidity ?? edge.invalidity,
            fingerprint: Self.fingerprint("DELETE /api/v0/customers/\(customerID?.text ?? "")"),
            context: edge.context,
            permission: .deleteCustomers,
            deadline: deadline
        )
        // A task of its own: a client that hangs up doesn't stop half-way what it asked for.
        let reply = await Task { [deletion] in await deletion.reply(to: attempt, edge.credentials) }.value
        return Response(reply)
    }

    /// What makes two requests under one idempotency key the same.
    private static func fingerprint(_ request: String) -> [UInt8] {
        Array(SHA256.hash(data: Array(request.utf8)))
    }
}
