/// The rate window of a key after a request, for the `X-RateLimit-*` headers.
public struct RateStatus: Sendable, Hashable {
    /// Requests a window.
    public let limit: Int
    /// Requests left in this window.
    public let remaining: Int
    /// End of this window, Unix seconds.
    public let reset: Int
}
