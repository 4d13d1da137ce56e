import AuditTrail
import Customers
import HTTPTypes
import Hummingbird
import NIOCore

/// What operators and their tools need, without credentials.
struct OperatorRoutes: Sendable {
    /// Made once: clients that are slow to take it share these bytes.
    private static let description = ByteBuffer(string: OpenAPI.document)

    /// Whether requests can be served; it doesn't wait for what they wait for.
    let isReady: @Sendable () async -> Bool
    let metrics: @Sendable () -> String

    var routes: [Route] {
        [
            Route(.get, "/health/live") { _, _ in
                Response(Answer(status: 200, body: (["status": "live"] as JSON).text))
            },
            Route(.get, "/health/ready") { _, _ in
                guard await isReady() else { throw APIError.unavailable }
                return Response(Answer(status: 200, body: (["status": "ready"] as JSON).text))
            },
            Route(.get, "/openapi.json") { _, _ in
                Response(
                    status: .ok,
                    headers: [.contentType: "application/json"],
                    body: .init(byteBuffer: Self.description)
                )
            },
            Route(.get, "/reference") { request, _ in
                guard let page = ReferencePage.asset else { throw APIError.unforeseen }
                return page.response(to: request)
            },
            Route(.get, "/metrics") { _, _ in
                Response(
                    status: .ok,
                    headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                    body: .init(byteBuffer: ByteBuffer(string: metrics()))
                )
            },
        ]
    }
}
