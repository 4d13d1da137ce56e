/// A finished answer: what the client gets, whatever carries it there.
public struct Answer: Sendable, Hashable {
    /// HTTP status (RFC 9110, section 15).
    public let status: Int
    /// JSON text, sent byte for byte.
    public let body: String
    /// Seconds after which trying again makes sense, for `Retry-After`.
    public var retryAfter: Int?
    /// Path of the resource that explains the refusal, for `Link: <…>; rel="help"`.
    public var help: String?
    /// Validator of the record in the body, for `ETag`.
    public var etag: String?
    /// Whether this is the stored answer of an earlier request, for `Idempotent-Replayed`.
    public var isReplayed = false

    /// A record as the body, with its validator.
    static func record(_ record: String, status: Int = 200) -> Answer {
        var answer = Answer(status: status, body: record)
        answer.etag = EntityTag(of: record).text
        return answer
    }

    public init(status: Int, body: String, retryAfter: Int? = nil, help: String? = nil) {
        self.status = status
        self.body = body
        self.retryAfter = retryAfter
        self.help = help
    }
}
