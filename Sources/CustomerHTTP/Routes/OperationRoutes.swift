import Customers
import HTTPTypes
import Hummingbird
import LibPQ
import NIOCore

/// What operators and tools ask for, without credentials.
struct OperationRoutes: Sendable {
    /// Made once: clients that don't take it hold on to the same bytes, not to copies.
    private static let description = ByteBuffer(string: OpenAPI.document)

    let pool: ConnectionPool
    let metrics: @Sendable () -> String

    var routes: [Route] {
        [
            Route(.get, "/health/live") { _, _ in
                Response(Answer(status: 200, body: (["status": "live"] as JSON).text))
            },
            Route(.get, "/health/ready") { _, _ in try await ready() },
            Route(.get, "/openapi.json") { _, _ in
                Response(
                    status: .ok,
                    headers: [.contentType: "application/json"],
                    body: .init(byteBuffer: Self.description)
                )
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

    /// Ready while the database can be written to, which every request of a client does.
    private func ready() async throws -> Response {
        let deadline = ContinuousClock.now + .seconds(1)
        let isReadOnly: Bool?
        do {
            isReadOnly = try await pool.withConnection(deadline: deadline) { connection throws(DatabaseError) in
                let statement = Statement("SELECT current_setting('transaction_read_only')::boolean")
                return try await connection.query(statement, deadline: deadline).rows.first?.bool(0)
            }
        } catch {
            throw APIError.unavailable
        }
        guard isReadOnly == false else { throw APIError.unavailable }
        return Response(Answer(status: 200, body: (["status": "ready"] as JSON).text))
    }
}
