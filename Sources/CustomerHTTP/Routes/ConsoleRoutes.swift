import Customers
import HTTPTypes
import Hummingbird

/// The auditor's page: static files that ask the API as any other client does.
struct ConsoleRoutes: Sendable {
    private static let page = "index.html"

    var routes: [Route] {
        [
            Route(.get, "/console") { request, _ in try Self.response(Self.page, to: request) },
            Route(.get, "/console/{asset}") { request, context in
                try Self.response(context.parameters.get("asset") ?? "", to: request)
            },
        ]
    }

    private static func response(_ name: String, to request: Request) throws -> Response {
        guard let asset = ConsoleAsset.all[name] else {
            throw APIError.noRoute(method: request.method.rawValue, path: request.uri.path)
        }
        return asset.response(to: request)
    }
}
