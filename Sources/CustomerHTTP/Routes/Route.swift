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

    /// Whether HEAD is answered as GET would be, without the body: not where reading leaves an entry, since no data would go
    /// out, nor where the length of the body isn't known before.
    let answersHead: Bool

    init(
        _ method: HTTPRequest.Method, _ path: String, answersHead: Bool = true, _ handler: @escaping Handler
    ) {
        self.method = method
        self.path = path
        self.answersHead = method == .get && answersHead
        self.handler = handler
    }
}
