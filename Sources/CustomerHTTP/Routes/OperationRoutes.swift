import Customers
import HTTPTypes
import Hummingbird
import LibPQ
import NIOCore

/// What operators and tools ask for, without credentials.
struct OperationRoutes: Sendable {
    let pool: ConnectionPool
    let metrics: @Sendable () -> String

    var routes: [Route] {
        [
            Route(.get, "/health/live") { _, _ in
                Response(Answer(status: 200, body: (["status": "live"] as JSON).text))
            },
            Route(.get, "/health/ready") { _, _ in try await ready() },
            Route(.get, "/openapi.json") { _, _ in Response(Answer(status: 200, body: OpenAPI.document)) },
            Route(.get, "/metrics") { _, _ in
                Response(
                    status: .ok,
                    headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                    body: .init(byteBuffer: ByteBuffer(string: metrics()))
                )
            },
        ]
    }

    /// Ready while a statement can be run.
    private func ready() async throws -> Response {
        let deadline = ContinuousClock.now + .seconds(1)
        do {
            _ = try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                try await connection.query(Statement("SELECT 1"), deadline: deadline)
            }
        } catch {
            throw APIError.unavailable
        }
        return Response(Answer(status: 200, body: (["status": "ready"] as JSON).text))
    }
}
