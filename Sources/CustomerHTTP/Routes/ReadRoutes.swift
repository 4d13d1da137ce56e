import Customers
import HTTPTypes
import Hummingbird
import NIOCore

/// The reads under `/api/v0/customers`.
struct ReadRoutes: Sendable {
    /// Bytes of an answer in pieces that a client has its time for.
    private static let largestPiece = 64 * 1024

    let customers: CustomerQueries
    let export: SubjectExport
    let limits: Limits

    var routes: [Route] {
        [
            Route(.get, "/api/v0/customers", list),
            Route(.get, "/api/v0/customers/{id}", customer),
            Route(.get, "/api/v0/customers/{id}/deletion-check", deletionCheck),
            Route(.get, "/api/v0/customers/{id}/export", answersHead: false, document),
            dependents("/api/v0/customers/{id}/invoices", .invoices),
            dependents("/api/v0/customers/{id}/payment-links", .paymentLinks),
            dependents("/api/v0/customers/{id}/transactions", .transactions),
            dependents("/api/v0/customers/{id}/liquidation-addresses", .liquidationAddresses),
        ]
    }

    @Sendable private func list(_ request: Request, _ context: APIContext) async throws -> Response {
        let parameters = QueryParameters(request)
        let search = Result { () throws(Invalidity) in
            CustomerSearch(
                status: try parameters.choice("status", of: CustomerStatus.self),
                name: try parameters.text("name"),
                email: try parameters.text("email"),
                page: try parameters.page()
            )
        }
        return Response(await customers.list(search, try context.credentials, deadline: deadline(context)))
    }

    @Sendable private func customer(_ request: Request, _ context: APIContext) async throws -> Response {
        Response(await customers.customer(context.id, try context.credentials, deadline: deadline(context)))
            .unlessKnown(to: request)
    }

    @Sendable private func deletionCheck(_ request: Request, _ context: APIContext) async throws -> Response {
        Response(await customers.deletionCheck(context.id, try context.credentials, deadline: deadline(context)))
    }

    @Sendable private func document(_ request: Request, _ context: APIContext) async throws -> Response {
        guard let edge = context.edge else { throw APIError.unforeseen }
        let reply = await export(
            context.id, edge.credentials, edge.context, edge.invalidity, deadline: deadline(context))
        switch reply {
        case .answer(let answer):
            return Response(answer)
        case .document(let head, let document):
            var response = Response(head)
            response.body = ResponseBody { writer in
                try await document.write { text in
                    var page = ByteBuffer(string: text)
                    while let piece = page.readSlice(length: min(Self.largestPiece, page.readableBytes)),
                        piece.readableBytes > 0
                    {
                        try await writer.write(piece)
                    }
                }
                try await writer.finish(nil)
            }
            return response
        }
    }

    private func dependents(_ path: String, _ kind: Dependents) -> Route {
        Route(.get, path) { request, context in
            let search = Result { () throws(Invalidity) in
                DependentsSearch(
                    kind: kind, customerID: try context.id.get(), page: try QueryParameters(request).page())
            }
            return Response(await customers.dependents(search, try context.credentials, deadline: deadline(context)))
        }
    }

    private func deadline(_ context: APIContext) -> ContinuousClock.Instant {
        context.arrival + limits.requestTimeout
    }
}

extension APIContext {
    /// The `{id}` of the path.
    var id: Result<UUID, Invalidity> {
        customerID.map { .success($0) } ?? .failure(.invalidCustomerID)
    }

    var credentials: Credentials {
        get throws(APIError) {
            guard let edge else { throw .unforeseen }
            return edge.credentials
        }
    }
}
