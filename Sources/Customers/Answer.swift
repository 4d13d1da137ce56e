import Crypto

/// What a client gets, independent of HTTP.
public struct Answer: Sendable {
    /// HTTP status (RFC 9110, section 15).
    public let status: Int
    /// Text, sent byte for byte.
    public internal(set) var body: String
    /// Media type of the body, for `Content-Type`.
    public internal(set) var contentType = "application/json"
    /// Path of what was made, for `Location`.
    public internal(set) var location: String?
    /// Writes a body of any size instead, piece by piece. `write` returns when the client can take more; when it throws,
    /// the body isn't whole.
    public internal(set) var stream: (@Sendable (_ write: (String) async throws -> Void) async throws -> Void)?
    /// Seconds after which trying again makes sense, for `Retry-After`.
    public var retryAfter: Int?
    /// Path of the resource that explains the refusal, for `Link: <…>; rel="help"`.
    public var help: String?
    /// Validator of the record in the body, for `ETag`.
    public var etag: String?
    /// Whether this is the stored answer of an earlier request, for `Idempotent-Replayed`.
    public var isReplayed = false
    /// The rate window of the key that asked, for `X-RateLimit-*`; nil before authentication.
    public var rate: RateStatus?

    /// A living record as the body, with its validator.
    static func record(_ record: String) -> Answer {
        var answer = Answer(status: 200, body: record)
        answer.etag = etag(of: record)
        return answer
    }

    /// Plain text as the body.
    static func text(_ text: String) -> Answer {
        var answer = Answer(status: 200, body: text)
        answer.contentType = "text/plain; charset=utf-8"
        return answer
    }

    /// A strong validator of a record (RFC 9110, section 8.8.3), with the quotes: the first half of its SHA-256, as
    /// `service.etag` makes it.
    static func etag(of record: String) -> String {
        "\"\(Array(SHA256.hash(data: Array(record.utf8)).prefix(16)).hex)\""
    }

    public init(status: Int, body: String, retryAfter: Int? = nil) {
        self.status = status
        self.body = body
        self.retryAfter = retryAfter
    }

    /// The same answer, to a key whose rate window is known.
    func with(_ rate: RateStatus?) -> Answer {
        var answer = self
        answer.rate = rate
        return answer
    }
}

/// The rate window of a key after a request.
public struct RateStatus: Sendable, Hashable {
    /// Requests a window.
    public let limit: Int
    /// Requests left in this window.
    public let remaining: Int
    /// End of this window, Unix seconds.
    public let reset: Int
}
