import HTTPTypes
import Hummingbird

/// One operation of the API.
struct Route: Sendable {
    typealias Handler = @Sendable (Request, APIContext) async throws -> Response

    let method: HTTPRequest.Method
    /// Path with `{parameters}`.
    let path: String
    let handler: Handler

    /// Whether the handler reads a body; otherwise it is discarded.
    var takesBody: Bool {
        method != .get
    }

    init(_ method: HTTPRequest.Method, _ path: String, _ handler: @escaping Handler) {
        self.method = method
        self.path = path
        self.handler = handler
    }
}
