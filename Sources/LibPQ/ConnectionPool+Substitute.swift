extension ConnectionPool {
    /// Lends a connection, or one of another pool when this one can have none: where sessions are scarce, who came
    /// first may have taken all.
    ///
    /// The caller must not hold a connection of the other pool.
    ///
    /// - Throws: what `body` throws, or ``DatabaseError/unavailable(_:)`` if neither had one before the deadline.
    public func withConnection<R: Sendable>(
        orOf substitute: ConnectionPool,
        deadline: ContinuousClock.Instant,
        _ body: @Sendable (Connection) async throws(DatabaseError) -> R
    ) async throws(DatabaseError) -> R {
        do throws(DatabaseError) {
            return try await withConnection(deadline: deadline, body)
        } catch {
            // It says that nothing was sent.
            guard case .unavailable = error else { throw error }
            return try await substitute.withConnection(deadline: deadline, body)
        }
    }
}
