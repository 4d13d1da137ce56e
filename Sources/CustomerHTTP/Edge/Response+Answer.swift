import Customers
import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
    /// The one place where an answer becomes HTTP.
    init(_ answer: Answer) {
        var headers: HTTPFields = [.contentType: answer.contentType]
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
        self.init(
            status: .init(code: answer.status),
            headers: headers,
            body: .init(byteBuffer: ByteBuffer(string: answer.body))
        )
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
