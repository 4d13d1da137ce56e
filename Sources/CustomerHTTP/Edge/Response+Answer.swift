import Customers
import HTTPTypes
import Hummingbird
import NIOCore

extension Response {
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
        self.init(
            status: .init(code: answer.status),
            headers: headers,
            body: .init(byteBuffer: ByteBuffer(string: answer.body))
        )
    }
}
