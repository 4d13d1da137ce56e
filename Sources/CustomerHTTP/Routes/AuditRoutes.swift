import Customers
import HTTPTypes
import Hummingbird

/// The trail, as far as it is the caller's own app's.
struct AuditRoutes: Sendable {
    let audit: AuditQueries
    let limits: Limits

    var routes: [Route] {
        [
            Route(.get, "/api/v0/audit", entries),
            Route(.get, "/api/v0/audit/checkpoint", checkpoint),
            Route(.get, "/api/v0/audit/{id}", entry),
            Route(.get, "/api/v0/audit/{id}/proof", proof),
            Route(.get, "/api/v0/audit/{id}/certificate", certificate),
        ]
    }

    @Sendable private func entries(_ request: Request, _ context: APIContext) async throws -> Response {
        let parameters = QueryParameters(request)
        let search = Result { () throws(Invalidity) in
            AuditSearch(
                customerID: try parameters.uuid("customer_id"),
                outcome: try parameters.choice("outcome", of: Outcome.self),
                actor: try parameters.text("actor"),
                from: try parameters.dateTime("from"),
                to: try parameters.dateTime("to"),
                cursor: try parameters.cursor("cursor"),
                limit: try parameters.int("limit", in: AuditSearch.limits, default: 50),
                withProof: try parameters.bool("proof")
            )
        }
        let deadline = context.arrival + limits.requestTimeout
        return Response(await audit.entries(search, try context.credentials, deadline: deadline))
    }

    @Sendable private func entry(_ request: Request, _ context: APIContext) async throws -> Response {
        let deadline = context.arrival + limits.requestTimeout
        return Response(await audit.entry(context.id, try context.credentials, deadline: deadline))
    }

    @Sendable private func checkpoint(_ request: Request, _ context: APIContext) async throws -> Response {
        let deadline = context.arrival + limits.requestTimeout
        return Response(await audit.checkpoint(try context.credentials, deadline: deadline))
    }

    @Sendable private func proof(_ request: Request, _ context: APIContext) async throws -> Response {
        let deadline = context.arrival + limits.requestTimeout
        return Response(await audit.proof(context.id, try context.credentials, deadline: deadline))
    }

    @Sendable private func certificate(_ request: Request, _ context: APIContext) async throws -> Response {
        let search = Result { () throws(Invalidity) in
            CertificateSearch(
                id: try context.id.get(), disclosed: try QueryParameters(request).certificateParts("disclose"))
        }
        let deadline = context.arrival + limits.requestTimeout
        return Response(await audit.certificate(search, try context.credentials, deadline: deadline))
    }
}
