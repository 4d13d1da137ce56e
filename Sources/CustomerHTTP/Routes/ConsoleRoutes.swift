import Customers
import HTTPTypes
import Hummingbird

/// The console: static files, whose scripts call the API as any other client does.
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
        guard let asset = assets[name] else {
            throw APIError.noRoute(method: request.method.rawValue, path: request.uri.path)
        }
        return asset.response(to: request)
    }

    /// The second has what verifies a certificate, which the page of a certificate has as well.
    private static let folders = ["Sources/CustomerHTTP/Console/", "Sources/AuditTrail/CertificatePage/"]

    /// The files that the build plugin `EmbedText` embedded, by the name that follows `/console/`.
    private static let assets: [String: Asset] = {
        let assets = EmbeddedText.files.compactMap { path, text in
            folders.first(where: path.hasPrefix).map { folder in
                (String(path.dropFirst(folder.count)), Asset(text, type: type(of: path), policy: policy))
            }
        }
        return Dictionary(uniqueKeysWithValues: assets)
    }()

    private static func type(of path: String) -> String {
        switch path.split(separator: ".").last {
        case "html": "text/html; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "js": "text/javascript; charset=utf-8"
        case "svg": "image/svg+xml"
        default: "text/plain; charset=utf-8"
        }
    }

    /// The page's own files and the API.
    private static let policy = ["script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'"]
}
