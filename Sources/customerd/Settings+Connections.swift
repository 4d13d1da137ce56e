extension Settings {
    /// More would only take memory.
    private static let mostConnections = 20_000

    /// How many HTTP connections there may be, so that the database's always find a descriptor.
    ///
    /// - Parameter descriptors: how many the process may have open.
    /// - Throws: when the descriptors aren't enough for what is asked for.
    func connections(descriptors: Int) throws(SettingsError) -> Int {
        // libpq's socket and the duplicate that is watched, for every pool and again while they are replaced.
        let reserved = 64 + 4 * (poolSize + 3)
        let possible = max(1, descriptors - reserved)
        guard let maxConnections else { return min(Self.mostConnections, possible) }
        guard maxConnections <= possible else {
            throw SettingsError(
                variable: "CUSTOMERD_MAX_CONNECTIONS",
                expectation: "at most \(possible) where a process may have \(descriptors) descriptors (ulimit -Hn)",
                value: "\(maxConnections)"
            )
        }
        return maxConnections
    }
}
