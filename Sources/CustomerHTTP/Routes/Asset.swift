import Crypto
import HTTPTypes
import Hummingbird
import NIOCore

/// A file for a browser: it never changes while the process runs, and a browser that has it gets a 304.
struct Asset: Sendable {
    private let headers: HTTPFields
    private let body: ByteBuffer

    /// - Parameter policy: directives of its content security policy, besides those that every file has.
    init(_ text: String, type: String, policy: [String]) {
        body = ByteBuffer(string: text)
        headers = [
            .contentType: type,
            .eTag: "\"\(Data(SHA256.hash(data: Data(text.utf8)).prefix(15)).base64EncodedString())\"",
            // Asked for again each time, so that the files of one page are always those of one build.
            .cacheControl: "no-cache",
            .contentSecurityPolicy: (["default-src 'none'"] + policy + Self.further).joined(separator: "; "),
            .referrerPolicy: "no-referrer",
            .openerPolicy: "same-origin",
            .resourcePolicy: "same-origin",
        ]
    }

    /// No text can become markup.
    private static let further = [
        "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]

    /// The file, or 304 when the client has it already.
    func response(to request: Request) -> Response {
        Response(status: .ok, headers: headers, body: .init(byteBuffer: body)).unlessKnown(to: request)
    }
}

extension HTTPField.Name {
    fileprivate static let referrerPolicy = Self("Referrer-Policy")!
    fileprivate static let openerPolicy = Self("Cross-Origin-Opener-Policy")!
    fileprivate static let resourcePolicy = Self("Cross-Origin-Resource-Policy")!
}
