import Customers
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

    /// Bytes of a body that are accepted.
    let largestBody: Int

    init(
        _ method: HTTPRequest.Method, _ path: String, answersHead: Bool = true,
        largestBody: Int = WriteOperation.usualBody, _ handler: @escaping Handler
    ) {
        self.largestBody = largestBody
        self.method = method
        self.path = path
        self.answersHead = method == .get && answersHead
        self.handler = handler
    }
}
