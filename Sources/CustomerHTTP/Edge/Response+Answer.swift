import Customers
import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
    /// Bytes of a piece of a stream, for each of which a client has the time of silence.
    private static let largestPiece = 64 * 1024

    /// The one place where an answer becomes HTTP.
    init(_ answer: Answer) {
        var headers: HTTPFields = [.contentType: "application/json"]
        if let seconds = answer.retryAfter { headers[.retryAfter] = String(seconds) }
        if let help = answer.help { headers[.link] = "<\(help)>; rel=\"help\"" }
        if let etag = answer.etag { headers[.eTag] = etag }
        if answer.isReplayed { headers[.idempotentReplayed] = "true" }
        if answer.status == 401 { headers[.wwwAuthenticate] = "ApiKey realm=\"customerd\"" }
        if let rate = answer.rate {
            headers[.rateLimit] = String(rate.limit)
            headers[.rateRemaining] = String(rate.remaining)
            headers[.rateReset] = String(rate.reset)
        }
        let body =
            answer.stream.map(Self.body) ?? ResponseBody(byteBuffer: ByteBuffer(string: answer.body))
        self.init(status: .init(code: answer.status), headers: headers, body: body)
    }

    private static func body(
        _ stream: @escaping @Sendable ((String) async throws -> Void) async throws -> Void
    ) -> ResponseBody {
        ResponseBody { writer in
            try await stream { text in
                var page = ByteBuffer(string: text)
                while let piece = page.readSlice(length: min(largestPiece, page.readableBytes)),
                    piece.readableBytes > 0
                {
                    try await writer.write(piece)
                }
            }
            try await writer.finish(nil)
        }
    }

    /// The same, or 304 without a body for a client that has it already.
    ///
    /// Source: RFC 9110, section 13.1.2.
    func unlessKnown(to request: Request) -> Response {
        guard
            status == .ok, let etag = headers[.eTag],
            let known = EntityTags(request.headers[values: .ifNoneMatch]), known.containsWeakly(etag)
        else { return self }
        var headers = headers
        headers[.contentType] = nil
        return Response(status: .notModified, headers: headers)
    }
}
