/// A pool at one moment.
public struct PoolStatistics: Sendable, Hashable {
    /// The connections that are open.
    public var size: Int
    /// Of these, the ones that wait to be used.
    public var idle: Int
    /// Of these, the ones that are leased.
    public var inUse: Int
    /// The callers that wait for a connection.
    public var waiting: Int
    /// Whether a connection is open. False before the first has been opened, too.
    public var isReachable: Bool

    public init(size: Int, idle: Int, inUse: Int, waiting: Int, isReachable: Bool) {
        self.size = size
        self.idle = idle
        self.inUse = inUse
        self.waiting = waiting
        self.isReachable = isReachable
    }
}
