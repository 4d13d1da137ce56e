/// How much, how fast and how long.
public struct Limits: Sendable, Hashable {
    /// What a rate limit can be.
    public static let rateLimits = 1...1_000_000_000

    /// Requests a window and API key, of those that have no limit of their own.
    public var rateLimit: Int
    /// Length of the window, which opens with a key's first request.
    public var rateWindow: Duration
    /// How long a finished answer is kept for replays.
    public var idempotencyTTL: Duration
    /// By when a request is answered.
    public var requestTimeout: Duration

    public init(rateLimit: Int, rateWindow: Duration, idempotencyTTL: Duration, requestTimeout: Duration) {
        self.rateLimit = rateLimit
        self.rateWindow = rateWindow
        self.idempotencyTTL = idempotencyTTL
        self.requestTimeout = requestTimeout
    }

    /// How long an attempt can't be taken over: past its deadline, so that a request that is merely slow keeps it.
    public var lease: Duration {
        requestTimeout + .seconds(5)
    }
}
