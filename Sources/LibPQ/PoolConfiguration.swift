/// How a pool behaves.
public struct PoolConfiguration: Sendable, Hashable {
    /// How many connections there may be. While ``ConnectionPool/run()`` runs, all of them are kept open.
    public var size: Int
    /// A connection that has been idle for longer is asked whether it is alive before it is handed out.
    public var idleCheckAfter: Duration
    /// A connection is replaced after this time, shortened by up to a tenth so that they don't all go at once.
    public var maximumLifetime: Duration
    /// The first pause after a failed attempt to connect; it doubles with every further one.
    public var minimumBackoff: Duration
    /// The longest pause between attempts to connect while nobody asks for a connection.
    public var maximumBackoff: Duration
    /// The longest pause between attempts to connect while somebody does.
    public var maximumBackoffUnderDemand: Duration

    public init(
        size: Int = 10,
        idleCheckAfter: Duration = .seconds(30),
        maximumLifetime: Duration = .seconds(1800),
        minimumBackoff: Duration = .milliseconds(100),
        maximumBackoff: Duration = .seconds(32),
        maximumBackoffUnderDemand: Duration = .milliseconds(500)
    ) {
        self.size = max(1, size)
        self.idleCheckAfter = idleCheckAfter
        self.maximumLifetime = maximumLifetime
        self.minimumBackoff = minimumBackoff
        self.maximumBackoff = maximumBackoff
        self.maximumBackoffUnderDemand = maximumBackoffUnderDemand
    }
}
