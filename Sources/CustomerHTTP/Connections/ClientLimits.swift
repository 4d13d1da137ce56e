/// What the server puts up with from its clients, all together and each alone.
public struct ClientLimits: Sendable {
    /// Connections that are open at one time. One more takes the place of the one that has been waiting for its
    /// client the longest.
    public let connections: Int
    /// How long a request may take to arrive, from its first byte to its last.
    public let arrival: Duration
    /// How long a client may let a connection be: until it sends the next request, or takes the answer to the last.
    public let silence: Duration

    public init(connections: Int, arrival: Duration, silence: Duration) {
        self.connections = connections
        self.arrival = arrival
        self.silence = silence
    }
}
