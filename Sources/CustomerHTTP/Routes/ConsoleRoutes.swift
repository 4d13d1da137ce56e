import Crypto
import Customers
import HTTPTypes
import Hummingbird
import NIOCore

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
        guard let asset = ConsoleAsset.all[name] else {
            throw APIError.noRoute(method: request.method.rawValue, path: request.uri.path)
        }
        return asset.response(to: request)
    }
}

/// A file of the console, embedded by the build plugin `EmbedText`.
struct ConsoleAsset: Sendable {
    /// The second has what verifies a certificate, which the page of a certificate has as well.
    private static let folders = ["Sources/CustomerHTTP/Console/", "Sources/AuditTrail/CertificatePage/"]

    /// By the name that follows `/console/`.
    static let all: [String: ConsoleAsset] = {
        let assets = EmbeddedText.files.compactMap { path, text in
            folders.first(where: path.hasPrefix).map { (String(path.dropFirst($0.count)), ConsoleAsset(path, text)) }
        }
        return Dictionary(uniqueKeysWithValues: assets)
    }()

    private let contentType: String
    private let body: ByteBuffer
    private let etag: String

    private init(_ path: String, _ text: String) {
        contentType =
            switch path.split(separator: ".").last {
            case "html": "text/html; charset=utf-8"
            case "css": "text/css; charset=utf-8"
            case "js": "text/javascript; charset=utf-8"
            case "svg": "image/svg+xml"
            default: "text/plain; charset=utf-8"
            }
        body = ByteBuffer(string: text)
        etag = "\"\(Data(SHA256.hash(data: Data(text.utf8)).prefix(15)).base64EncodedString())\""
    }

    /// The file, or 304 when the client has it already.
    func response(to request: Request) -> Response {
        var headers = headers
        headers[.contentType] = contentType
        return Response(status: .ok, headers: headers, body: .init(byteBuffer: body)).unlessKnown(to: request)
    }

    private var headers: HTTPFields {
        [
            .eTag: etag,
            // Asked for again each time, so that the files of one page are always those of one build.
            .cacheControl: "no-cache",
            .contentSecurityPolicy: Self.policy,
            .referrerPolicy: "no-referrer",
            .openerPolicy: "same-origin",
            .resourcePolicy: "same-origin",
        ]
    }

    /// The page's own files and the API, nothing else; and no text can become markup.
    private static let policy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self'",
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ].joined(separator: "; ")
}

extension HTTPField.Name {
    fileprivate static let referrerPolicy = Self("Referrer-Policy")!
    fileprivate static let openerPolicy = Self("Cross-Origin-Opener-Policy")!
    fileprivate static let resourcePolicy = Self("Cross-Origin-Resource-Policy")!
}
